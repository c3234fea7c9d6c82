"""The points of a sweep side by side."""
