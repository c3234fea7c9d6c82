"""A recorded session, whatever file it came from."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

NOTICE = "notice"
"""Among the kinds of input: neither a tool's result nor a person's words, but the client's own."""


@dataclass(frozen=True, slots=True)
class RecordedRequest:
    """One request of a recorded agent; `t_s` counts from its agent's start, absent fields are None.

    `hash_ids` names the whole blocks of the input, prefix-chained: an id implies every id before it.
    """

    t_s: float
    model: str
    streaming: bool
    input_tokens: int
    output_tokens: int
    hash_ids: Sequence[int]
    input_types: tuple[str, ...]
    output_types: tuple[str, ...]
    stop: str | None
    api_s: float | None
    think_s: float | None
    ttft_s: float | None
    read_tokens: int | None = None
    """Of the input, what the provider said it read from its cache."""
    written_tokens: int | None = None
    """Of the input, what it said it wrote there."""
    written_ttl_s: float | None = None
    """How long it was paid to keep that."""


@dataclass(frozen=True, slots=True)
class RecordedSubagent:
    """A sub-agent of a recorded session; its requests' times count from `t_s`."""

    t_s: float
    agent_id: str
    kind: str
    duration_s: float | None
    tool_tokens: int
    system_tokens: int
    requests: tuple[RecordedRequest, ...]
    status: str = "completed"
    total_tokens: int | None = None
    tool_uses: int | None = None

    @property
    def end_s(self) -> float:
        """When it had ended, on its session's clock; that of its last request where that was not recorded."""
        if self.duration_s is not None:
            return self.t_s + self.duration_s
        return self.t_s + max(((each.t_s + (each.api_s or 0.0)) for each in self.requests), default=0.0)


@dataclass(frozen=True, slots=True)
class RecordedSession:
    """One recorded session; entries stand in file order. `namespace` scopes its hash ids."""

    id: str
    source: str
    namespace: str
    block_tokens: int
    tool_tokens: int
    system_tokens: int
    models: tuple[str, ...]
    entries: tuple[RecordedRequest | RecordedSubagent, ...]
    has_words: bool = False
    """Whether its file holds the words themselves, of which lengths and equal blocks are kept."""
    project: str = ""
    """What its work was on, as its log names it."""

    @property
    def shares_ids(self) -> bool:
        """Whether the ids mean the same in all sessions of this namespace."""
        return self.namespace.startswith("global")

    def subagents(self) -> Iterator[RecordedSubagent]:
        """Yield the sub-agents, in file order."""
        return (entry for entry in self.entries if isinstance(entry, RecordedSubagent))

    def requests(self) -> Iterator[RecordedRequest]:
        """Yield all requests, those of sub-agents included, in file order."""
        for entry in self.entries:
            if isinstance(entry, RecordedRequest):
                yield entry
            else:
                yield from entry.requests
