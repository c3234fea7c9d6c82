"""A user's own agents as programs. Knows: how they are found, what they may yield. Does not know: clocks."""

from swarm.workload.program.context import AgentContext

__all__ = ["AgentContext"]
