"""Training: pictures and a config in, a run directory with a bundle out. Needs the ``[train]`` extra."""
