"""Formats that hold texts or messages. Know: words, forks, token counts. Do not know: block ids."""
