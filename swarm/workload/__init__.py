"""Agent programs and their sources. Knows: effects, contexts, chance. Does not know: clocks, targets."""
