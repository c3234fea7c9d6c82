"""What a run leaves: rows, batches, journals, takeover, the run folder. Does not know: statistics, hosts."""
