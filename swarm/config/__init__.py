"""Config: one YAML file is one experiment. Knows: names, bounds, defaults. Does not know: how it works."""
