"""What the terminal shows while a run goes on. Knows: progress. Does not know: results."""
