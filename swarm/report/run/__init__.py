"""One run made readable: its charts, page and tables. Knows: a run folder. Does not know: other runs."""
