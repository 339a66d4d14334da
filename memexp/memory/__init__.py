"""What a trained network remembers, where and how long: one measure, one file."""
