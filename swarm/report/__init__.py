"""Run folders and analyses made readable: frames, charts, pages, terminal.

Knows: tables, summaries, the charting library. Does not know: how a run went, Ray, targets.
"""
