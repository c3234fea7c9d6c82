"""KV on its way: what a copy costs, and links. Knows: bytes, seconds. Does not know: prompts, blocks."""
