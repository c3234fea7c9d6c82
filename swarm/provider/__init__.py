"""The emulated fleet behind a socket: an OpenAI-compatible provider whose cache hits follow from content.

Knows: HTTP/1.1, OpenAI's shapes, the fleet's events, wall time. Does not know: agents, experiments, Ray.
"""

from swarm.provider.server import Provider

__all__ = ["Provider"]
