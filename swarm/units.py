"""Factors between units, by name."""

GIB = 1024**3
KIB = 1024
US_PER_S = 1_000_000
MS_PER_S = 1_000
MINUTE_S = 60.0
