"""Replies read: event streams, deltas, usage, errors, how each ended. Does not know: sockets."""
