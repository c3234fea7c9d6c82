"""Agent programs and where they come from. Knows: effects, contexts, chance. Does not know: clocks, targets."""
