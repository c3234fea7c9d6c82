"""Profiles of workloads: fitted on recorded sessions, sampled as sessions of the same kind.

Knows: distributions, correlations, plans of sessions. Does not know: content, clocks, files of traces.
"""
