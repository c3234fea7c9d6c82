"""Logs that coding agents write of themselves: counts and times, and the identity of what was cached."""
