"""A trained model: what its gates and states do."""
