"""Tasks: what is asked. One file per task; each brings its data, its sizes, and its exact distribution."""
