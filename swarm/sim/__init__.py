"""The second clock: agents and fleet on one heap of virtual time.

Knows: effects, the fleet's events, virtual time. Does not know: sockets, Ray, the machine's clock.
"""
