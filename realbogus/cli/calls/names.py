"""Names to choose from that rooms define which take seconds to load. tests/test_cli.py keeps the two together."""

from __future__ import annotations

SURVEYS = ("ztf", "rubin")
FEATURE_SETS = ("fast-1", "fast-2", "full-1", "full-2", "pixel-1", "pixel-2")
FAMILIES = tuple("ABCDEFGHIJKL")
KINDS = ("extra trees", "random forest")
SEEN = ("refit", "leave-out", "keep")
RECIPES = ("pachon", "palomar", "steady", "windy")
IMPORTERS = ("asteroids", "tns", "vetting", "manifest", "truth")
SOURCES = ("simulated", "spectrum", "asteroid", "asteroid-position", "tns", "panel", "vetting")
ALSO = ("spread", "novelty")
ROLES = ("observation", "test")
DISPOSITIONS = ("internal", "invalid", "malformed", "oversize", "schema_unknown")
