"""Speed and parity, side by side."""
