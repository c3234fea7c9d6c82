"""Trace formats, one file each: bytes in, recorded sessions out, and back."""
