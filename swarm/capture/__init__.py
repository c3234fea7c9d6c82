"""A recording proxy: bytes pass between clients and a server as they come, and are written down.

Knows: HTTP as bytes, what the APIs say, who asked. Does not know: fleets, workloads, how traces are played.
"""
