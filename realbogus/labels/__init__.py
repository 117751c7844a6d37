"""Labels: what an alert is, by whose word, how surely, since when, and what may therefore not be a feature.

`manifest` reads labels of packets and of simulated nights from their tables, `importers` make claims of what others
say, `journal` keeps claims and settles them where they disagree.
"""

from realbogus.labels.journal import read_claims
from realbogus.labels.manifest import read_manifest, read_truth

__all__ = ["read_claims", "read_manifest", "read_truth"]
