"""Frames with known truth: paint, expose, damage, subtract, detect, and pack what was found as survey alerts."""

from __future__ import annotations

from realbogus.simulation.night import Simulated, night
from realbogus.simulation.recipe import Recipe
from realbogus.simulation.truth import Truth

__all__ = ["Recipe", "Simulated", "Truth", "night"]
