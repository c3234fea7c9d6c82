"""Formats that name a prompt by the ids of its blocks. Know: ids, sizes of blocks. Do not know: words."""
