"""The HTTP sink: events to ask for, to follow live, and to look at."""
