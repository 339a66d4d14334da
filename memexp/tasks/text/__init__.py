"""Texts: where they come from, what simple models make of them, and how a model writes."""
