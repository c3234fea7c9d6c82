"""Runs held against each other. Knows: rows, intervals, likeness. Does not know: where runs come from."""
