"""The points of a sweep side by side. Knows: summaries by point. Does not know: how points were run."""
