"""VOEvents of scored alerts: built as a pure function, checked before they leave."""

from realbogus.voevent.build import build as build
from realbogus.voevent.style import EventStyle as EventStyle
from realbogus.voevent.validate import Event as Event
