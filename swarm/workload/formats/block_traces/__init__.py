"""Formats that name a prompt by the ids of its blocks."""
