"""What is drawn: each function draws on given Axes. No torch, no files."""
