"""Weights from outside, and out: files of other people's are read as memexp's models, and memexp's are written."""
