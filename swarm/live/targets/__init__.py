"""What requests go to: wire formats, streams and the transport that carries them."""
