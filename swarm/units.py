"""Factors between units, by name, and counts in words."""

GIB = 1024**3
KIB = 1024
MIB = 1024**2
US_PER_S = 1_000_000
MS_PER_S = 1_000
MINUTE_S = 60.0


def counted(count: int, noun: str) -> str:
    """Return a count with its noun, whose plural has an s."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"
