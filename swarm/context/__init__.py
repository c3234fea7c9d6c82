"""Context trees: content as places. Knows: nodes, prompts, their text. Does not know: agents, caches."""
