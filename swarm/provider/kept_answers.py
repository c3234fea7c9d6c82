"""Answers that later requests may continue or ask for, as long as there is room for them."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

from swarm.provider.content import Content
from swarm.provider.refusal import Fault

ANSWERS_MAX = 10_000


@dataclass(frozen=True, slots=True)
class Kept:
    """One answer: what was said up to its end, and its body."""

    content: Content
    body: bytes


class KeptAnswers:
    """The latest answers within a bound on their content; each counts in full, also what it shares."""

    def __init__(self, bytes_max: int) -> None:
        self._bytes_max = bytes_max
        self._bytes = 0
        self._kept: OrderedDict[str, Kept] = OrderedDict()

    def keep(self, answer_id: str, kept: Kept) -> None:
        """Keep an answer, and let go of the oldest that there is no more room for."""
        self._kept[answer_id] = kept
        self._bytes += kept.content.size + len(kept.body)
        while self._kept and (self._bytes > self._bytes_max or len(self._kept) > ANSWERS_MAX):
            self._drop(next(iter(self._kept)))

    def find(self, answer_id: str) -> Kept:
        """Return an answer; raises `Fault`."""
        kept = self._kept.get(answer_id)
        if kept is None:
            raise Fault(404, f"Response with id '{answer_id[:100]}' not found.", code="response_not_found")
        return kept

    def content(self, answer_id: str) -> Content:
        """Return what was said up to an answer's end; raises `Fault`."""
        kept = self._kept.get(answer_id)
        if kept is None:
            raise Fault(
                400,
                f"Previous response with id '{answer_id[:100]}' not found.",
                "previous_response_id",
                "previous_response_not_found",
            )
        return kept.content

    def forget(self, answer_id: str) -> None:
        """Let go of an answer; raises `Fault`."""
        self.find(answer_id)
        self._drop(answer_id)

    def _drop(self, answer_id: str) -> None:
        kept = self._kept.pop(answer_id)
        self._bytes -= kept.content.size + len(kept.body)
