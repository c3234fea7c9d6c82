"""The fleet: a state machine from requests to events."""

from __future__ import annotations

import math
from collections.abc import Sequence as Many
from dataclasses import dataclass
from typing import Any

from swarm.context.tree import Node
from swarm.errors import AuditError
from swarm.fleet.events import Event, FleetRequest, Refused
from swarm.fleet.provider import Provider
from swarm.fleet.rank import Rank
from swarm.fleet.router import Router
from swarm.fleet.sequence import Sequence
from swarm.fleet.traffic import Traffic
from swarm.kvcache.audit import audit
from swarm.kvcache.loss import Losses

COUNTED = (
    "hit_blocks",
    "offered_blocks",
    "landed_blocks",
    "dropped_blocks",
    "evicted_blocks",
    "expired_blocks",
    "promoted_blocks",
    "read_bytes",
    "written_bytes",
    "dropped_bytes",
    "blocked_writes",
)
"""Of a tier's counters, what a run tells."""


@dataclass(frozen=True, slots=True)
class FleetLimits:
    """What the fleet refuses."""

    max_model_len: int
    pool_tokens: float
    """The most tokens that fit the smallest KV pool."""
    max_waiting: int
    output_tokens_max: float
    """1 where nothing decodes."""
    retry_after_s: float


@dataclass(slots=True)
class FleetCounts:
    """Requests since the start: submitted = finished + cancelled + refused + under way."""

    submitted: int
    cancelled: int
    refused: int


class Fleet:
    """Replicas, tiers and the router in front of them; see `swarm.fleet.events` for the contract."""

    def __init__(
        self,
        *,
        ranks: Many[Rank],
        entrances: Many[Rank],
        router: Router,
        traffic: Traffic,
        losses: Losses,
        limits: FleetLimits,
        provider: Provider | None,
        sequences: dict[int, Sequence],
        due: list[float],
        events: list[Event],
    ) -> None:
        self.ranks = tuple(ranks)
        self.traffic = traffic
        self.counts = FleetCounts(0, 0, 0)
        self._entrances = tuple(entrances)
        """The ranks that requests go to first."""
        self._router = router
        self._losses = losses
        self._limits = limits
        self._provider = provider
        self._sequences = sequences
        self._due = due
        """When each is due: the network, then the ranks; at one time they run in this order."""
        self._events = events
        self._tiers = tuple({id(tier): tier for rank in ranks for tier in rank.hierarchy.tiers}.values())
        self._told_s = -math.inf
        """Up to where the caller has asked for events."""

    def submit(self, request: FleetRequest, now_s: float) -> None:
        """Take a request; it joins the step that starts now, else the next one."""
        assert request.request_id not in self._sequences, f"request {request.request_id} is under way"
        assert request.prompt.length > 0 and request.output_tokens > 0, f"an empty request: {request}"
        self._run_to(now_s)
        self.counts.submitted += 1
        refusal = self._refusal(request, now_s)
        if refusal is not None:
            self.counts.refused += 1
            self._events.append(refusal)
            return
        rank = self._router.pick(self._entrances, request.session, request.prompt, now_s)
        if self._provider is not None:
            wait_s = self._provider.ask(
                request.session,
                prompt_tokens=request.prompt.length,
                cached_tokens=rank.hierarchy.peek(request.prompt, now_s),
                output_tokens=request.output_tokens,
                now_s=now_s,
            )
            if wait_s > 0.0:
                self.counts.refused += 1
                reason = f"the plan's tokens are used up for {wait_s:.3f} s"
                self._events.append(Refused(now_s, request.request_id, reason, wait_s))
                return
        sequence = Sequence(request, self._losses.ideal.send(*request.prompt))
        self._sequences[request.request_id] = sequence
        seconds = rank.entry_s(request.prompt.length, now_s)
        if seconds:
            self.traffic.enter(rank, sequence, seconds, now_s)
        else:
            rank.submit(sequence, now_s)

    def cancel(self, request_id: int, now_s: float) -> None:
        """Give a request up: no event of it follows. One that has ended, or never was, is left alone."""
        self._run_to(now_s)
        sequence = self._sequences.get(request_id)
        if sequence is None or sequence.state == "cancelled":
            return
        self.counts.cancelled += 1
        assert sequence.rank is not None
        if sequence.state == "entering":
            sequence.state = "ended"
            sequence.rank.entering -= 1
            del self._sequences[request_id]
            return
        sequence.rank.cancel(sequence, now_s)

    def clear_caches(self, now_s: float) -> None:
        """Let every memory go of what no request is using; what is on its way to one still arrives."""
        self._run_to(now_s)
        for tier in self._tiers:
            tier.clear()
        for rank in self.ranks:
            rank.hierarchy.uses.changes += 1

    def next_event_s(self, tokens: bool = False) -> float | None:
        """Return when to advance next; None when nothing is due."""
        if self._events:
            return self._events[0].at_s
        due_s = min(self._due)
        if tokens:
            due_s = min(due_s, min(rank.next_token_s(self._told_s) for rank in self.ranks))
        return None if due_s == math.inf else due_s

    def advance(self, now_s: float, tokens: bool = False) -> list[Event]:
        """Return the events up to now, in time order."""
        due, events, told_s = self._due, self._events, self._told_s
        due_s = min(due)
        while due_s <= now_s:
            place = due.index(due_s)
            if place == 0:
                self.traffic.run(due_s)
            else:
                rank = self.ranks[place - 1]
                if tokens:
                    rank.report(told_s, due_s, events)
                rank.run(due_s)
            due_s = min(due)
        if tokens:
            for rank in self.ranks:
                rank.report(told_s, now_s, events)
            events.sort(key=_at_s)
        self._told_s = now_s
        told = events[:]
        events.clear()
        return told

    @property
    def context_tokens(self) -> float:
        """The most tokens of one request, prompt and reply together: the model's, or what the pool holds."""
        return min(self._limits.max_model_len, self._limits.pool_tokens + 1)

    def sequence_of(self, request_id: int) -> Sequence | None:
        """Return the state of a request under way, or None where it has ended."""
        return self._sequences.get(request_id)

    def held_tokens(self, node: Node) -> int:
        """Return up to where any memory holds the blocks that a node owns; 0 where none does."""
        end = 0
        for tier in self._tiers:
            runs = tier.runs.by_node.get(node)
            if runs:
                end = max(end, runs[-1][1])
        return end * self._losses.block_tokens

    def advance_to_event(self, until_s: float) -> list[Event]:
        """Return the next events up to `until_s`, all of one time; none where nothing happens until then."""
        due, events, ranks = self._due, self._events, self.ranks
        while not events:
            due_s = min(due)
            if due_s > until_s or due_s == math.inf:
                break
            place = due.index(due_s)
            if place:
                ranks[place - 1].run(due_s)
            else:
                self.traffic.run(due_s)
        if not events:
            return []
        self._told_s = events[0].at_s
        told = events[:]
        events.clear()
        return told

    def counters(self) -> dict[str, Any]:
        """Return what was counted since the start: preemptions, and for each tier all its instances' sums.

        Offered blocks were written, dropped, or are still on their way; those of a write that its tier let
        wait (`blocked_writes`) stalled the replica.
        """
        tiers: dict[str, dict[str, int]] = {}
        for tier in self._tiers:
            sums = tiers.setdefault(tier.spec.name, {})
            for name in COUNTED:
                sums[name] = sums.get(name, 0) + getattr(tier.counters, name)
        return {"preemptions": sum(rank.preemptions for rank in self.ranks), "tiers": tiers}

    def audit(self) -> None:
        """Check that what has come in is what has gone out and what is here, down to the blocks.

        Raises:
            AuditError: A count does not balance.
        """
        counts = self.counts
        finished = sum(rank.finished for rank in self.ranks)
        open_count = sum(sequence.state != "cancelled" for sequence in self._sequences.values())
        if counts.submitted != finished + counts.cancelled + counts.refused + open_count:
            raise AuditError(f"fleet: {counts}, finished {finished}, but {open_count} are under way")
        handles = [(rank.hierarchy, handle) for rank in self.ranks for handle in rank.handles()]
        audit([rank.hierarchy for rank in self.ranks], handles)
        for rank in self.ranks:
            rank.audit()

    def _run_to(self, now_s: float) -> None:
        """Do what is due up to now; its events wait for the next `advance`."""
        due = self._due
        due_s = min(due)
        while due_s <= now_s:
            place = due.index(due_s)
            if place == 0:
                self.traffic.run(due_s)
            else:
                self.ranks[place - 1].run(due_s)
            due_s = min(due)

    def _refusal(self, request: FleetRequest, now_s: float) -> Refused | None:
        tokens = request.prompt.length + request.output_tokens
        limits = self._limits
        if request.output_tokens > limits.output_tokens_max:
            reason = f"{request.output_tokens} output tokens asked of a fleet that only prefills; ask for 1"
            return Refused(now_s, request.request_id, reason, None)
        if tokens > limits.max_model_len:
            reason = f"prompt and reply have {tokens} tokens, the model takes {limits.max_model_len}"
            return Refused(now_s, request.request_id, reason, None)
        if tokens - 1 > limits.pool_tokens:
            reason = f"prompt and reply have {tokens} tokens, the KV pool takes {limits.pool_tokens + 1:.0f}"
            return Refused(now_s, request.request_id, reason, None)
        if len(self._sequences) < limits.max_waiting:
            return None
        waiting = sum(rank.entering + len(rank.waiting) for rank in self.ranks)
        if waiting >= limits.max_waiting:
            reason = f"{waiting} requests are waiting, at most {limits.max_waiting} may"
            return Refused(now_s, request.request_id, reason, limits.retry_after_s)
        return None


def _at_s(event: Event) -> float:
    return event.at_s
