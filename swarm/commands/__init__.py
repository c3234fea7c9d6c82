"""One file a command: what `swarm X` does from start to end.

Knows: every room below, the terminal, exit codes. Does not know: how arguments are spelt. Decides nothing.
"""
