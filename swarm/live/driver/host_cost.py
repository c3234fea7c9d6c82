"""What a host costs its node, from what its requests cost this client: `benchmarks/client.py` measures them.

The constants are of the slower of the machines in docs/performance.md, so that hosts are rather too many.
"""

from __future__ import annotations

from dataclasses import dataclass

from swarm.load.expected_work import ExpectedWork

REQUEST_S = 330e-6
"""CPU time of a request of one token that comes alone: program, body, connection, row (`prompts-1k`)."""
PROMPT_TOKEN_S = 3e-9
"""Of each token of its prompt, all of them new: rendered, copied, sent (`prompts-32k-new`)."""
OUTPUT_TOKEN_S = 40e-6
"""Of each token of its answer where they come one by one (`paced-512`)."""
HOST_S_PER_S = 0.02
"""Of a host that does nothing but report, watch its loop, and be one of Ray's processes."""
AGENT_BYTES = 50_000
"""Of an agent with an open request (`idle_agents.py`: 30 kB, and up to 20 kB for the connection)."""
REPORT_S = 0.55e-3
"""CPU time of the coordinator for one report (`coordinator.py`)."""
REPORTED_REQUEST_S = 3.6e-6
"""Of the coordinator for each request of a large report."""
FRONT_REQUEST_S = 200e-6
"""CPU time of the emulated provider for a request, for each token of its prompt, and of its answer
(`server.py`)."""
FRONT_PROMPT_TOKEN_S = 1.5e-9
FRONT_OUTPUT_TOKEN_S = 11e-6
CORE_SHARE = 0.5
"""Of a core that a host is given to do: an event loop that is busier wakes up late."""


@dataclass(frozen=True, slots=True)
class HostCost:
    """What sessions cost the hosts that run them."""

    cores: float
    """CPU seconds a second."""
    agents: float
    """Alive at once: each may have a connection open."""

    def of(self, share: float) -> HostCost:
        """Return the cost of a share of the sessions."""
        return HostCost(self.cores * share, self.agents * share)


def cost_of(work: ExpectedWork, sessions: int) -> HostCost:
    """Return what so many sessions cost, wherever they run; a host's own upkeep is not in it."""
    request_s = (
        REQUEST_S + PROMPT_TOKEN_S * work.prompt_tokens + OUTPUT_TOKEN_S * max(0.0, work.output_tokens - 1.0)
    )
    return HostCost(sessions * work.requests_per_s * request_s, sessions * work.agents)


def coordinator_cores(work: ExpectedWork, sessions: int, hosts: int, report_every_s: float) -> float:
    """Return what the reports of so many hosts cost the coordinator."""
    return hosts / report_every_s * REPORT_S + sessions * work.requests_per_s * REPORTED_REQUEST_S


def front_cores(work: ExpectedWork, sessions: int) -> float:
    """Return what the emulated provider needs to answer them, its fleet's steps not counted."""
    request_s = (
        FRONT_REQUEST_S
        + FRONT_PROMPT_TOKEN_S * work.prompt_tokens
        + FRONT_OUTPUT_TOKEN_S * max(0.0, work.output_tokens - 1.0)
    )
    return sessions * work.requests_per_s * request_s
