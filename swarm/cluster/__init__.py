"""The Ray door: thin actors and tasks around plain classes."""
