"""Frames with known truth: paint, expose, damage, subtract, detect, and pack what was found as survey alerts."""

from __future__ import annotations

from realbogus.simulation.night import Simulated, night
from realbogus.simulation.recipe import RECIPES, Recipe, with_events
from realbogus.simulation.truth import BOGUS_KINDS, REAL_KINDS, Truth

__all__ = ["BOGUS_KINDS", "REAL_KINDS", "RECIPES", "Recipe", "Simulated", "Truth", "night", "with_events"]
