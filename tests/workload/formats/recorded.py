"""Small recorded sessions for the tests of formats."""

from __future__ import annotations

from swarm.workload.recorded import RecordedRequest, RecordedSession, RecordedSubagent


def request(t_s: float, ids: list[int], tail: int = 0, **changes: object) -> RecordedRequest:
    """Return a request of whole blocks of 16 tokens and a tail."""
    values: dict[str, object] = {
        "t_s": t_s,
        "model": "m",
        "streaming": True,
        "input_tokens": 16 * len(ids) + tail,
        "output_tokens": 5,
        "hash_ids": ids,
        "input_types": ("text",),
        "output_types": ("tool_use",),
        "stop": "tool_use",
        "api_s": 1.5,
        "think_s": None,
        "ttft_s": None,
    }
    return RecordedRequest(**(values | changes))  # type: ignore[arg-type]


def session(*entries: RecordedRequest | RecordedSubagent, **changes: object) -> RecordedSession:
    """Return a session of such requests."""
    values: dict[str, object] = {
        "id": "one",
        "source": "one.json",
        "namespace": "local/one.json",
        "block_tokens": 16,
        "tool_tokens": 10,
        "system_tokens": 6,
        "models": ("m",),
        "entries": entries,
    }
    return RecordedSession(**(values | changes))  # type: ignore[arg-type]


def subagent(t_s: float, *requests: RecordedRequest) -> RecordedSubagent:
    """Return a sub-agent that took ten seconds."""
    return RecordedSubagent(t_s, "agent_1", "Explore", 10.0, 3, 4, requests, "completed", 99, 2)
