"""Measurements: how the service holds up, and what it costs."""
