"""What a running process tells: metrics, health, logs."""

from __future__ import annotations

from realbogus.telemetry.health import Health, serve
from realbogus.telemetry.logs import JsonLines, log_to_stderr
from realbogus.telemetry.metrics import Metrics

__all__ = ["Health", "JsonLines", "Metrics", "log_to_stderr", "serve"]
