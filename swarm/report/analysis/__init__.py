"""An analysis of recorded sessions made readable. Knows: its JSON and curves. Does not know: trace files."""
