"""The feature sets that models are trained on. A published set never changes; a better one gets the next number.

Measured by scripts/design/ranking.py on real ZTF packets, by extra trees; what they cost: feature_costs.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

# Everything that training may use: the catalogue without what old packets lack and what ZTF does not give.
FULL_1 = """
n2sig3 n3sig3 n2sig5 n3sig5 n2sig3shift n3sig3shift n2sig5shift n3sig5shift numneg diffsum sumrat l1
negative_share depth_ratio gauss_amp gauss_scale gauss_resid gauss_corr psf_ncc mf_snr mf_offset chi2_psf
spread dipole_gain llr_dipole dipole_ratio cr_gain llr_cr llr_flat r_aper_psf flux_ratio host_mag_diff
host_absent mag_from_limit magdiff_ap growth ellipticity b_ratio fwhm_ratio size_ratio pixel_ellipticity
centroid_offset quad_range asym180 ring_h1 ring_h2 ring_var neg_ring_depth zern_20 zern_dist gini_pos gini_neg
gini_abs m20_pos m20_neg m20_abs conc_core lacosmic peak_ring8 peak_ring8_sci line_med_max radon_peak
sat_frac_s sat_frac_t nan_frac_d nan_frac_s nan_frac_t n_bright ncc_ds ncc_dt ncc_st st_shift st_peak
closure_resid t_core_z s_core_z grad_r2 psf_ncc_s psf_ncc_t noise_ratio n_peaks noise_acf1 snr scorr
stellarity flag_count chi2_cat host_dist host_mag host_mag_err host_sharp ps1_dist1 ps1_sg1 ps1_n30
"""

# For a stream: compiled only, without the catalogue columns on hosts and stars (they tell the place on the sky, and
# cost ranking on nights unseen), without the registration shift (dear, and nothing lost without it), and without the
# shares of missing pixels (the fill pattern differs between sources of labels).
FAST_1 = """
n2sig3 n3sig3 n2sig5 n3sig5 n2sig3shift n3sig3shift n2sig5shift n3sig5shift numneg diffsum sumrat l1
negative_share depth_ratio gauss_amp gauss_scale gauss_resid gauss_corr psf_ncc mf_snr mf_offset chi2_psf
spread dipole_gain llr_dipole dipole_ratio cr_gain llr_cr llr_flat r_aper_psf flux_ratio mag_from_limit
magdiff_ap growth ellipticity b_ratio fwhm_ratio size_ratio pixel_ellipticity centroid_offset quad_range
asym180 ring_h1 ring_h2 ring_var neg_ring_depth zern_20 zern_dist gini_pos gini_neg gini_abs m20_pos m20_neg
m20_abs conc_core peak_ring8 peak_ring8_sci line_med_max radon_peak sat_frac_s sat_frac_t n_bright ncc_ds
ncc_dt ncc_st closure_resid t_core_z s_core_z grad_r2 psf_ncc_s psf_ncc_t noise_ratio noise_acf1 snr scorr
stellarity flag_count chi2_cat
"""

# Stamps and PSF width only: carries over between surveys. Compiled as well.
PIXEL_1 = """
n2sig3 n3sig3 n2sig5 n3sig5 n2sig3shift n3sig3shift n2sig5shift n3sig5shift numneg diffsum sumrat l1
negative_share depth_ratio gauss_amp gauss_scale gauss_resid gauss_corr psf_ncc mf_snr mf_offset chi2_psf
spread dipole_gain llr_dipole dipole_ratio cr_gain llr_cr llr_flat r_aper_psf flux_ratio growth size_ratio
pixel_ellipticity centroid_offset quad_range asym180 ring_h1 ring_h2 ring_var neg_ring_depth zern_20 zern_dist
gini_pos gini_neg gini_abs m20_pos m20_neg m20_abs conc_core peak_ring8 peak_ring8_sci line_med_max radon_peak
sat_frac_s sat_frac_t n_bright ncc_ds ncc_dt ncc_st closure_resid t_core_z s_core_z grad_r2 psf_ncc_s
psf_ncc_t noise_ratio noise_acf1
"""

# What the subtraction did to the rest of the stamp. Frames whose every star leaves a residual made 24 of the 54 false
# alarms at 10 % FPR of fast-1, and no feature looked there. AUC rises from .968 to .978; thinned out to fourteen, these
# gain a fifth less.
FRAME = """
star_share star_ratio star_slope star_corr star_signif star_rms star_bright star_dark core_ratio core_slope
ratio_excess slope_excess ratio_contrast spots_bright spots_dark spots_sign outer_skew outer_rms trail trail_both
"""

# Gain nothing for new exposures of known nights and lose a little for new nights: they tell the season.
LEVELS = "flux_scale science_noise template_noise"

FEATURE_SETS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "fast-1": tuple(FAST_1.split()),
        "fast-2": tuple((FAST_1 + FRAME).split()),
        "full-1": tuple(FULL_1.split()),
        "full-2": tuple((FULL_1 + FRAME + LEVELS).split()),
        "pixel-1": tuple(PIXEL_1.split()),
        "pixel-2": tuple((PIXEL_1 + FRAME).split()),
    }
)
