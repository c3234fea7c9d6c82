"""Colours that mean one thing each, everywhere; middle tones that read on white and on black."""

NEW = "salmon"
CACHED = "#9aa1ab"
OUTPUT = "#3d7fd6"
UNSAID = "#c9b8a6"
"""Prompt tokens of which the target does not say whether they were cached."""
USER = "#e0a030"
COMPACTION = "#8a5cc2"
IDEAL = "#2a9d74"
BAD = "#d64545"
GOOD = "#2a9d74"
TEXT = "#7d848f"
GRID = "#8a919c"

TIERS = {
    "hbm": "#d9692f",
    "dram": "#e0a030",
    "pooled_dram": "#b8b23c",
    "nvme": "#3a9e8f",
    "posix": "#4a78c9",
}
WRITTEN = {
    "hbm": "#efb393",
    "dram": "#f1cf92",
    "pooled_dram": "#dbd897",
    "nvme": "#94d1c6",
    "posix": "#a3bbe6",
}
"""The same tiers where what is written stands beside what is read."""
RUNS = ("#3d7fd6", "#e07a3f", "#2a9d74", "#b04fa8", "#c7a317", "#5b6fb8", "#c94f5d", "#6b8e4e")
"""One for each run that is compared."""
