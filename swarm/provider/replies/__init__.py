"""What the emulated model says: words, calls of tools, JSON that fits a schema.

Knows: what a client asked for. Does not know: HTTP, the fleet, how an API writes it down.
"""
