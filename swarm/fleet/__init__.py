"""The emulated fleet: a state machine from requests to events.

Knows: costs, batches, tiers. Does not know: agents, sockets.
"""
