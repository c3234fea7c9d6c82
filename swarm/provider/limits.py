"""Every bound of the server, by name."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ServerLimits:
    """What clients can make the server hold, and how long one can make it wait."""

    header_bytes_max: int
    body_bytes_max: int
    connections_max: int
    pipelined_max: int
    """Requests on one connection that wait for the one before them; at that many, no more are read."""
    head_s: float
    """From a request's first byte to the end of its headers."""
    body_s: float
    """From the end of the headers to the end of the body."""
    idle_s: float
    """Without a request; agents think for minutes."""
    write_buffer_bytes_max: int
    """Unsent response bytes at which a client that does not read is given up."""
    output_tokens_max: int
    replies_max: int
    """Prompts of one request, times the replies to each."""
    kept_bytes_max: int
    """Content of answers that later requests may continue, the oldest of which go first."""
    remembered_bytes_max: int
    """Fingerprints of content that no memory of the fleet holds any longer, kept to say why it does not."""
    forgotten_bytes_max: int
    """A table that says what was there once beyond that, 8 bytes a kept block."""


LIMITS = ServerLimits(
    header_bytes_max=64 * 1024,
    body_bytes_max=64 * 1024**2,
    connections_max=20_000,
    pipelined_max=16,
    head_s=20.0,
    body_s=120.0,
    idle_s=3_600.0,
    write_buffer_bytes_max=4 * 1024**2,
    output_tokens_max=262_144,
    replies_max=128,
    kept_bytes_max=256 * 1024**2,
    remembered_bytes_max=256 * 1024**2,
    forgotten_bytes_max=32 * 1024**2,
)
