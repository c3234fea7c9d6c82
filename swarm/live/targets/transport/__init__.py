"""Bytes to and from servers: connections, TLS, timeouts, receive times. Does not know: what a reply means."""
