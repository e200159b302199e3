"""Convergence: however events arrive, the view is the fold of the distinct ones."""
