"""What steps cost. Knows: models, GPUs, tokens, seconds. Does not know: queues, memories, events."""
