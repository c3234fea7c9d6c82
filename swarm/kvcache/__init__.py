"""KV blocks over memory tiers. Knows: stretches, ages, bytes. Does not know: replicas, waiting."""
