"""The course of a live run: hosts started, watched, replaced when they are lost, and ended.

Knows: what hosts report, what a launcher tells of their processes. Does not know: Ray, agents, terminals.
"""
