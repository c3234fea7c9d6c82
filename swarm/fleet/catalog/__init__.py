"""The catalogues: models, GPUs and fitted constants as data files, and how a name or a path finds one."""
