"""What a log tells of one request and one agent, before blocks have names."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from swarm.errors import TraceError

OpenedBy = Literal["start", "tool", "human", "notice"]
"""What came before a request: nothing, a tool's result, a person, or a hook, a task's end or a retry."""


@dataclass(slots=True)
class LoggedRequest:
    """One request of a log; times are Unix seconds, tokens as the log counts them."""

    start_s: float
    end_s: float
    first_s: float | None
    model: str
    plain_tokens: int
    """Input that was neither read from the cache nor written to it."""
    read_tokens: int
    written_tokens: int
    ttl_s: float | None
    """How long the provider was paid to keep what was written; None where it does not say."""
    output_tokens: int
    opened_by: OpenedBy
    output_types: tuple[str, ...]
    stop: str | None
    is_compaction: bool
    held_tokens: int
    """How much of the prompt, and of its reply, the provider holds after it, by the rule of its cache."""
    is_told: bool = True
    """Whether the log says what was read from the cache."""
    is_counted: bool = True
    """Whether it says how many tokens the prompt had."""
    ids: Sequence[int] | None = None
    """Blocks, where the log names them or holds their words."""

    @property
    def input_tokens(self) -> int:
        """The whole prompt."""
        return self.plain_tokens + self.read_tokens + self.written_tokens


@dataclass(slots=True)
class LoggedAgent:
    """An agent of a session; the main one has an empty `kind`."""

    agent_id: str
    kind: str
    requests: list[LoggedRequest]
    status: str = "completed"


@dataclass(slots=True)
class Tally:
    """What of a source was read, inferred or missing: counts by a sentence."""

    read: Counter[str] = field(default_factory=Counter)
    inferred: Counter[str] = field(default_factory=Counter)
    missing: Counter[str] = field(default_factory=Counter)
    pairs: int = 0
    """Requests with one before them in their chain, within its TTL and of its model."""
    exact: int = 0
    """Those that read exactly what that one had left cached."""

    @property
    def share(self) -> float | None:
        """Exact ones among the pairs; None where there are none."""
        return self.exact / self.pairs if self.pairs else None

    def add(self, other: Tally) -> None:
        """Add what another source held."""
        for mine, theirs in zip(self._counts(), other._counts(), strict=True):
            mine.update(theirs)
        self.pairs += other.pairs
        self.exact += other.exact

    def _counts(self) -> tuple[Counter[str], Counter[str], Counter[str]]:
        return self.read, self.inferred, self.missing

    def take_cut(self, error: TraceError) -> None:
        """Note a line that is no JSON: tools add lines without a sync, and end in the middle of one."""
        self.missing["lines that are cut off or still being written"] += 1

    def report(self) -> dict[str, Any]:
        """Return all of it as one JSON value."""
        return {
            "read": dict(self.read),
            "inferred": dict(self.inferred),
            "missing": dict(self.missing),
            "identity": {"pairs": self.pairs, "exact": self.exact, "share": self.share},
        }

    def lines(self) -> list[str]:
        """Return what is inferred and missing, and how well reads follow, a sentence each."""
        told = [
            f"{name}: {count:,} {sentence}"
            for name, counts in (("inferred", self.inferred), ("missing", self.missing))
            for sentence, count in counts.most_common()
        ]
        if self.share is not None:
            told.append(
                f"identity: {self.exact:,} of {self.pairs:,} reads ({self.share:.1%}) are exactly what "
                "follows from the request before, within its TTL"
            )
        return told


def provenance(tallies: Mapping[str, Tally]) -> dict[str, Any]:
    """Return what all sources held together, and each of them under `sources`, as one JSON value."""
    whole = Tally()
    for tally in tallies.values():
        whole.add(tally)
    return {**whole.report(), "sources": {name: tally.report() for name, tally in tallies.items()}}
