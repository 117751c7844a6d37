"""Triplets of single alerts on the report's page."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from html import escape

import numpy as np
from numpy.typing import NDArray

from realbogus.pictures import STAMP_TITLES
from realbogus.thumbnails import thumbnail
from realbogus.training.pages.cells import Found

Triplets = Mapping[int, NDArray[np.float32]]  # candid -> (3, 63, 63)


def pictures(alerts: Sequence[Found], triplets: Triplets, text: str) -> str:
    """The stamps of some alerts, with what is known of each below."""
    figures = "".join(_picture(alert, triplets) for alert in alerts)
    note = "Science, template and difference; in the difference red is brighter, blue fainter. Striped: no pixel."
    return f'<p>{escape(text)} <small>{note}</small></p><div class="alerts">{figures}</div>'


def _picture(alert: Found, triplets: Triplets) -> str:
    triplet = triplets.get(alert["candid"])
    told = [f"<b>score {alert['score']:.3f}</b>"]
    told += [f"novelty {alert['novelty']:.2f}"] if "novelty" in alert else []
    told += [
        f"labelled {'real' if alert['real'] else 'bogus'}" + (f" ({escape(alert['kind'])})" if alert["kind"] else "")
    ]
    told += [f"S/N {alert['snr']:.1f}"] if alert["snr"] is not None else []
    told += [f"{escape(name)} {value:.2f}" for name, value in alert["others"].items() if value is not None]
    caption = f"{' · '.join(told)}<br>{alert['candid']} {escape(alert['band'])}"
    pictures = "" if triplet is None else "".join(_stamp(image, stamp) for stamp, image in enumerate(triplet))
    return f'<figure><div class="triplet">{pictures}</div><figcaption>{caption}</figcaption></figure>'


def _stamp(image: NDArray[np.float32], stamp: int) -> str:
    source = base64.b64encode(thumbnail(image, stamp)).decode()
    return f'<img src="data:image/png;base64,{source}" alt="{STAMP_TITLES[stamp]}" width="63" height="63">'
