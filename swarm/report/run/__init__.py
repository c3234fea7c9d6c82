"""A run made readable: its charts, page and tables."""
