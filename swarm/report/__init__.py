"""A run folder made readable: frames, charts, page, terminal."""
