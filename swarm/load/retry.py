"""Whether and when a failed attempt is made again: the same decision live and in virtual time."""

from __future__ import annotations

from numpy.random import Generator

from swarm.config.target import FailureClass, RetryConfig
from swarm.streams import stream


def retry_chance(seed: int, request_id: str) -> Generator:
    """Return the stream that a request's waits are drawn from; `request_id` is `agent path:turn`."""
    return stream(seed, "retry", request_id)


def wait_s(
    config: RetryConfig, kind: FailureClass, *, attempt: int, asked_s: float | None, chance: Generator
) -> float | None:
    """Return how long to wait after the failure of attempt `attempt` (from 1), or None to give up.

    Waits double from `wait_first_s` to `wait_max_s`, and the upper half of each is left to chance, so that
    agents that failed together do not come back together. A server that asks for a time gets it, plus that
    half: it is when the server is ready, not when everybody should come.
    """
    if attempt >= config.attempts_max or kind not in config.classes:
        return None
    planned = min(config.wait_max_s, config.wait_first_s * 2.0 ** min(attempt - 1, 60))
    jitter = planned / 2 * chance.random()
    if asked_s is None:
        return planned / 2 + jitter
    return None if asked_s > config.retry_after_max_s else asked_s + jitter
