"""Real-time real/bogus classification of astronomical alert streams."""

__version__ = "0.1.0"
