"""Formats that hold texts or messages."""
