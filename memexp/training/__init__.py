"""How it learns: the runner, its checkpoints, the machine."""
