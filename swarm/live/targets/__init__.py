"""What requests go to: wire formats, streams and the transport that carries them.

Knows: HTTP, servers' answers, failures by class. Does not know: agents, loads, rows.
"""
