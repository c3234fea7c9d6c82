"""What a run leaves, and how it is read back.

Knows: rows, batches, journals, takeover, the run folder. Does not know: statistics, hosts, verdicts.
"""
