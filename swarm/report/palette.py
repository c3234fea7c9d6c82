"""Colours that mean one thing each, everywhere; middle tones that read on white and on black."""

NEW = "salmon"
CACHED = "#9aa1ab"
OUTPUT = "#3d7fd6"
UNSAID = "#c9b8a6"
"""Prompt tokens of which the target does not say whether they were cached."""
USER = "#e0a030"
COMPACTION = "#8a5cc2"
IDEAL = "#00a298"
BAD = "#d64545"
GOOD = "#2a9d74"
TEXT = "#7d848f"
GRID = "#8a919c"

TIERS = {
    "hbm": "#d7672a",
    "dram": "#de9c27",
    "pooled_dram": "#bbb54b",
    "nvme": "#2e9687",
    "posix": "#4979cb",
}
WRITTEN = {
    "hbm": "#efb393",
    "dram": "#eed091",
    "pooled_dram": "#d5d3a7",
    "nvme": "#91d0c5",
    "posix": "#a1bbe5",
}
"""The same tiers where what is written stands beside what is read."""
RUNS = ("#3d7fd6", "#e17d42", "#269e75", "#9f3f98", "#c5a212", "#6873b7", "#d85869", "#587d3f")
"""One for each run that is compared. Told apart, as lines of one chart are, by colour-blind readers too."""
