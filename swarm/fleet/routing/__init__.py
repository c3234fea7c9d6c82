"""Which replica gets a request. Knows: what replicas show. Does not know: how they compute it."""
