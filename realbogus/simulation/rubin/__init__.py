"""Alerts of Rubin: exposures calibrated to nJy, what is measured of each detection there, cutouts, packets."""

from realbogus.simulation.rubin.alerts import RubinPackets

__all__ = ["RubinPackets"]
