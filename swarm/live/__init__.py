"""The first clock: agents on asyncio, the fleet over HTTP.

Knows: effects, wall time, hosts, a coordinator. Does not know: Ray, whether a target is real or emulated.
"""
