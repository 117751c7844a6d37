"""voevent."""
