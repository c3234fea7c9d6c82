"""From requests to numbers. Knows: rows, windows, sketches. Does not know: where rows come from."""
