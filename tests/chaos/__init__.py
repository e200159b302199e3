"""Chaos: parts of the running stack are killed while it works."""
