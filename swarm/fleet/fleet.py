"""The fleet: a state machine from requests to events."""

from __future__ import annotations

import math
from collections.abc import Sequence as Many
from dataclasses import dataclass
from typing import Any

from swarm.context.tree import Node
from swarm.errors import AuditError
from swarm.fleet.agenda import INFINITE, Agenda
from swarm.fleet.busy import FleetBusy
from swarm.fleet.events import Event, FleetRequest, Refused
from swarm.fleet.plans import Plans
from swarm.fleet.rank import Rank
from swarm.fleet.routing.router import Router
from swarm.fleet.sequence import Sequence
from swarm.fleet.traffic import Traffic
from swarm.hit_names import TIER_COUNTS
from swarm.kvcache.audit import audit
from swarm.kvcache.loss import Gone, Losses
from swarm.kvcache.states import StateTier


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
        plans: Plans | None,
        agenda: Agenda,
    ) -> None:
        self.ranks = tuple(ranks)
        self.traffic = traffic
        self.counts = FleetCounts(0, 0, 0)
        self._entrances = tuple(entrances)
        """The ranks that requests go to first."""
        self._router = router
        self._losses = losses
        self._limits = limits
        self._plans = plans
        self._agenda = agenda
        self._sequences = agenda.sequences
        self._events = agenda.events
        self._tiers = tuple({id(tier): tier for rank in ranks for tier in rank.hierarchy.tiers}.values())
        self._told_s = -math.inf
        """Up to where the caller has asked for events."""

    def submit(self, request: FleetRequest, now_s: float) -> None:
        """Take a request; it joins the step that starts now, else the next one."""
        assert request.request_id not in self._sequences, f"request {request.request_id} is under way"
        assert request.prompt.length > 0 and request.output_tokens > 0, f"an empty request: {request}"
        self._run_to(now_s, tokens=False, stops_at_event=False)
        self.counts.submitted += 1
        refusal = self._refusal(request, now_s)
        if refusal is not None:
            self.counts.refused += 1
            self._events.append(refusal)
            return
        rank = self._router.pick(self._entrances, request.session, request.prompt, None, now_s)
        if self._plans is not None:
            wait_s = self._plans.ask(
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
        prompt = request.prompt
        sequence = Sequence(request, self._losses.ideal.send(prompt.node, prompt.length))
        self._sequences[request.request_id] = sequence
        seconds = rank.enter_s(request.prompt.length, now_s)
        if seconds:
            self.traffic.enter(rank, sequence, seconds, now_s)
        else:
            rank.submit(sequence, now_s)

    def cancel(self, request_id: int, now_s: float) -> None:
        """Give a request up: no event of it follows. One that has ended, or never was, is left alone."""
        self._run_to(now_s, tokens=False, stops_at_event=False)
        sequence = self._sequences.get(request_id)
        if sequence is None or sequence.state == "cancelled":
            return
        self.counts.cancelled += 1
        rank = self.ranks[sequence.place]
        if sequence.state == "entering":
            sequence.become("ended")
            rank.queue.end_entry(sequence)
            rank.queue.answer(sequence)
            del self._sequences[request_id]
            return
        rank.cancel(sequence, now_s)

    def close(self) -> None:
        """Part what refers to each other in a ring: nothing is asked of the fleet any more.

        Its objects go with their last holder then. In rings they would wait for the garbage collector.
        """
        self.traffic.close()
        self._losses.close()

    def clear_caches(self, now_s: float) -> None:
        """Let every memory go of what no request is using; what is on its way to one still arrives."""
        self._run_to(now_s, tokens=False, stops_at_event=False)
        for tier in self._tiers:
            tier.clear()
        for rank in self.ranks:
            rank.hierarchy.cleared()

    def next_event_s(self, tokens: bool = False) -> float | None:
        """Return when to advance next; None when nothing is due."""
        if self._events:
            return self._events[0].at_s
        due_s = self._agenda.next_s()
        if tokens:
            due_s = min(due_s, min(rank.next_token_s(self._told_s) for rank in self.ranks))
        return None if due_s == math.inf else due_s

    def advance(self, now_s: float, tokens: bool = False) -> list[Event]:
        """Return the events up to now, in time order."""
        self._run_to(now_s, tokens=tokens, stops_at_event=False)
        if tokens:
            for rank in self.ranks:
                rank.report(self._told_s, now_s, self._events)
            self._events.sort(key=_at_s)
        self._told_s = now_s
        return self._agenda.take_events()

    def advance_to_event(self, until_s: float) -> list[Event]:
        """Return the next events up to `until_s`, all of one time; none where nothing happens until then."""
        self._run_to(until_s, tokens=False, stops_at_event=True)
        if not self._events:
            return []
        self._told_s = self._events[0].at_s
        return self._agenda.take_events()

    @property
    def context_tokens(self) -> float:
        """The most tokens of one request, prompt and reply together: the model's, or what the pool holds."""
        return min(self._limits.max_model_len, self._limits.pool_tokens + 1)

    def sequence_of(self, request_id: int) -> Sequence | None:
        """Return the state of a request under way, or None where it has ended."""
        return self._sequences.get(request_id)

    def held_tokens(self, node: Node) -> int:
        """Return up to where any memory holds, or is being written, a node's blocks or states; 0: nowhere."""
        end = 0
        for tier in self._tiers:
            states = (tier.states,) if isinstance(tier, StateTier) else ()
            for held in (tier.runs, tier.coming, *states):
                runs = held.by_node.get(node)
                if runs:
                    end = max(end, runs[-1][1])
        return end * self._losses.block_tokens

    def gone(self, node: Node, start: int, end: int, now_s: float) -> list[Gone]:
        """Return what is known of a node's blocks [start, end), which no memory holds any longer."""
        return self._losses.gone(node, start, end, now_s)

    def recall(self, node: Node, start: int, gone: list[Gone]) -> None:
        """A node's blocks from `start` on, which are new to it, were there once under another one."""
        self._losses.recall(node, start, gone)

    def counters(self) -> dict[str, Any]:
        """Return what was counted since the start: preemptions, and for each tier all its instances' sums.

        Offered blocks were written, dropped, or are still on their way; those of a write that its tier let
        wait (`blocked_writes`) stalled the replica.
        """
        tiers: dict[str, dict[str, int]] = {}
        for tier in self._tiers:
            sums = tiers.setdefault(tier.spec.name, {})
            for name in TIER_COUNTS:
                sums[name] = sums.get(name, 0) + getattr(tier.counters, name)
        return {"preemptions": sum(rank.preemptions for rank in self.ranks), "tiers": tiers}

    def count_busy(self, from_s: float, until_s: float) -> None:
        """Let `busy` tell of the time between these two alone, which are not over."""
        self._agenda.busy_from_s, self._agenda.busy_until_s = from_s, until_s
        self.traffic.network.count(from_s, until_s)

    def busy(self, now_s: float | None = None) -> FleetBusy:
        """Return how long the fleet's parts have worked by now; else up to what the caller was told.

        A step counts when it has ended; of what is on its way, what has been moved.
        """
        counted = self.traffic.network.counted_bytes(self._told_s if now_s is None else now_s)
        return FleetBusy(
            prefill_s=sum(rank.step.prefill_s for rank in self._entrances),
            prefill_ranks=len(self._entrances),
            pipes_s={pipe.name: counted[pipe.name] / pipe.bytes_per_s for pipe in self.traffic.network.pipes},
        )

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

    def _run_to(self, until_s: float, *, tokens: bool, stops_at_event: bool) -> None:
        """Run what is due, in order: up to a time, or only up to the first event; report tokens if asked."""
        agenda, events, ranks = self._agenda, self._events, self.ranks
        while not (stops_at_event and events):
            place = agenda.first_rank()
            at_s = agenda.due_s[place]
            if agenda.network_s <= at_s:
                at_s = agenda.network_s
                if at_s > until_s or at_s == INFINITE:
                    return
                self.traffic.run(at_s)
            elif at_s > until_s:
                return
            else:
                rank = ranks[place]
                if tokens:
                    rank.report(self._told_s, at_s, events)
                rank.run(at_s)

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
