"""What the server counts, as Prometheus text under vLLM's names.

Knows: the fleet's events and schedulers. Does not know: HTTP, what was said.
"""
