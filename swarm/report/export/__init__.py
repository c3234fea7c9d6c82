"""A run for other programs: tables as CSV, verdicts as JUnit XML, the time series as OpenMetrics.

Knows: a run folder's files, what those formats ask for. Does not know: pages and charts.
"""
