"""Admission on our side: which requests may be sent now, and which wait; the same in both clocks.

First come, first served: a request that may not go yet holds back all behind it, but one whose own agent
backs off. Limits are of the whole swarm; each of several hosts has its share of them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from swarm.bucket import Bucket, minute_bucket
from swarm.config.load import AdmissionConfig


@dataclass(slots=True)
class Ticket:
    """One request at the gate, or through it."""

    agent: str
    input_tokens: int
    output_tokens: int
    asked_s: float
    admitted_s: float | None = None
    in_prefill: bool = False


class Admission:
    """Decides; whoever drives it asks, is told who may go, and tells what became of them."""

    def __init__(self, config: AdmissionConfig, *, hosts: int) -> None:
        self._config = config
        self._in_flight_max = _share(config.max_in_flight, hosts)
        self._in_prefill_max = _share(config.max_in_prefill, hosts)
        self._inputs = _budget(config.input_tokens_per_minute, hosts)
        self._outputs = _budget(config.output_tokens_per_minute, hosts)
        self._waiting: dict[int, Ticket] = {}
        self._through: dict[int, Ticket] = {}
        self._in_prefill = 0
        self._failures: dict[str, int] = {}
        self._back_off_until_s: dict[str, float] = {}

    @property
    def waiting_count(self) -> int:
        """Return how many requests wait."""
        return len(self._waiting)

    def ask(self, number: int, agent: str, input_tokens: int, output_tokens: int, now_s: float) -> None:
        """Take a request to the gate's queue."""
        self._waiting[number] = Ticket(agent, input_tokens, output_tokens, now_s)

    def admitted(self, now_s: float) -> list[tuple[int, float]]:
        """Let through who may go now; return each one's number and how long it has waited."""
        going = []
        for number, ticket in list(self._waiting.items()):
            if self._back_off_until_s.get(ticket.agent, 0.0) > now_s:
                continue
            if not self._has_room() or self._ready_s(ticket, now_s) > now_s:
                break
            del self._waiting[number]
            self._let_through(number, ticket, now_s)
            going.append((number, now_s - ticket.asked_s))
        return going

    def next_s(self, now_s: float) -> float:
        """Return when asking again may help though nothing has ended; infinity where only an end can."""
        times = [math.inf]
        is_first = True
        for ticket in self._waiting.values():
            until_s = self._back_off_until_s.get(ticket.agent, 0.0)
            if until_s > now_s:
                times.append(until_s)
            elif is_first:
                is_first = False
                if self._has_room():
                    times.append(self._ready_s(ticket, now_s))
        return min(times)

    def first_token(self, number: int) -> None:
        """Note that a request's prefill is over."""
        ticket = self._through.get(number)
        if ticket is not None and ticket.in_prefill:
            ticket.in_prefill = False
            self._in_prefill -= 1

    def ended(self, number: int, now_s: float, *, ok: bool) -> None:
        """Note that a request ended; an agent whose requests fail in a row backs off ever longer."""
        self.first_token(number)
        ticket = self._through.pop(number)
        config = self._config
        if ok or not config.backoff_first_s:
            self._failures.pop(ticket.agent, None)
            self._back_off_until_s.pop(ticket.agent, None)
            return
        count = self._failures[ticket.agent] = self._failures.get(ticket.agent, 0) + 1
        wait_s = min(config.backoff_max_s, config.backoff_first_s * 2.0 ** min(count - 1, 60))
        self._back_off_until_s[ticket.agent] = now_s + wait_s

    def leave(self, number: int) -> None:
        """Take a request from the queue: it will not be sent."""
        self._waiting.pop(number, None)

    def audit(self) -> None:
        """Check that what is in prefill is what says so."""
        assert self._in_prefill == sum(ticket.in_prefill for ticket in self._through.values())

    def _has_room(self) -> bool:
        return len(self._through) < self._in_flight_max and self._in_prefill < self._in_prefill_max

    def _ready_s(self, ticket: Ticket, now_s: float) -> float:
        wait_s = 0.0
        if self._inputs is not None:
            wait_s = self._inputs.wait_s(ticket.input_tokens, now_s)
        if self._outputs is not None:
            wait_s = max(wait_s, self._outputs.wait_s(ticket.output_tokens, now_s))
        return now_s + wait_s

    def _let_through(self, number: int, ticket: Ticket, now_s: float) -> None:
        if self._inputs is not None:
            self._inputs.take(ticket.input_tokens, now_s)
        if self._outputs is not None:
            self._outputs.take(ticket.output_tokens, now_s)
        ticket.admitted_s, ticket.in_prefill = now_s, True
        self._in_prefill += 1
        self._through[number] = ticket


def _share(limit: int | None, hosts: int) -> float:
    """Return a host's share of a limit, at least 1; the hosts' shares may so be more than it is."""
    return math.inf if limit is None else max(1, limit // hosts)


def _budget(per_minute: float | None, hosts: int) -> Bucket | None:
    return minute_bucket(None if per_minute is None else per_minute / hosts)
