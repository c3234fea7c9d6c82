"""How well a profile fits its recordings. Knows: both sets of sessions. Does not know: how it was fitted."""
