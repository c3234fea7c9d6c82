"""What caches would make of recorded sessions. Knows: who used a block before, and when.

Does not know: runs, targets, how results are shown.
"""
