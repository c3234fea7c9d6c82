"""The catalogues: models, GPUs and fitted constants as data files, and how a name or a path finds one.

Knows: names, numbers, their sources. Does not know: what a step costs.
"""
