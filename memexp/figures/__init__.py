"""What is drawn: each function draws on given Axes. No torch, no files."""

import memexp.canvas  # noqa: F401 (before anything here imports matplotlib, which may not bear the surroundings)
