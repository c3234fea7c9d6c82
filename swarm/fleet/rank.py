"""One scheduler with its own KV pool: a queue before it, a batch in it, and the step that is under way."""

from __future__ import annotations

import math
from collections import OrderedDict

from swarm.context.tree import Prompt
from swarm.errors import AuditError
from swarm.fleet.agenda import Agenda
from swarm.fleet.batch import DecodeBatch
from swarm.fleet.cost.base import Cost, Entry
from swarm.fleet.departures import Departures
from swarm.fleet.events import Event
from swarm.fleet.pool import Pool
from swarm.fleet.queue import Queue
from swarm.fleet.sequence import Sequence
from swarm.fleet.step import Step
from swarm.fleet.stepper import Stepper
from swarm.fleet.surroundings import Surroundings
from swarm.kvcache.hierarchy import Hierarchy
from swarm.kvcache.requests import Handle, Transfer


class Rank:
    """A scheduler: what the fleet and its traffic ask of it and tell it."""

    def __init__(
        self,
        *,
        replica: int,
        cost: Cost,
        entry: Entry,
        hierarchy: Hierarchy,
        max_batched_tokens: int,
        max_sequences: int,
        assumed_reply_tokens: int,
        hands_over: bool,
        agenda: Agenda,
        surroundings: Surroundings,
    ) -> None:
        self.place = agenda.add_rank()
        self.replica = replica
        self.cost = cost
        self.hierarchy = hierarchy
        self.batch = DecodeBatch(hierarchy.rules.block_tokens)
        self.pool = Pool(place=self.place, hierarchy=hierarchy, batch=self.batch, surroundings=surroundings)
        self.queue = Queue(
            place=self.place,
            pool=self.pool,
            batch=self.batch,
            surroundings=surroundings,
            max_sequences=max_sequences,
        )
        self.step = Step(place=self.place, agenda=agenda, cost=cost, batch=self.batch)
        self._departures = Departures(
            replica=replica, agenda=agenda, surroundings=surroundings, pool=self.pool, queue=self.queue
        )
        self._stepper = Stepper(
            place=self.place,
            agenda=agenda,
            queue=self.queue,
            pool=self.pool,
            batch=self.batch,
            step=self.step,
            departures=self._departures,
            max_batched_tokens=max_batched_tokens,
            hands_over=hands_over,
            saves_states=hierarchy.saves_states,
        )
        self._entry = entry
        self._front_s = 0.0
        """When whoever entered last leaves the way to the next one."""
        self._surroundings = surroundings
        self._max_sequences = max_sequences
        self._assumed_reply_tokens = assumed_reply_tokens
        self._block_tokens = hierarchy.rules.block_tokens
        capacity_blocks = hierarchy.tiers[0].capacity_blocks
        self._pool_blocks = math.inf if capacity_blocks is None else float(capacity_blocks)
        self._token_s = cost.prefill_s(0, max_batched_tokens) / max_batched_tokens

    @property
    def waiting(self) -> OrderedDict[int, Sequence]:
        """Sequences in the queue, in order."""
        return self.queue.waiting

    @property
    def open(self) -> dict[int, Sequence]:
        """Sequences admitted, in order."""
        return self.pool.open

    @property
    def held(self) -> dict[int, Sequence]:
        """Sequences computed here and not yet with the rank that decodes them."""
        return self.pool.held

    @property
    def running(self) -> int:
        """Sequences admitted, whether computing, decoding or loading."""
        return len(self.pool.open)

    @property
    def entering(self) -> int:
        """Requests on their way to the queue."""
        return len(self.queue.entering)

    @property
    def requests(self) -> int:
        """Requests that are on their way here, waiting or running."""
        return len(self.queue.entering) + len(self.queue.waiting) + len(self.pool.open)

    @property
    def backlog_tokens(self) -> int:
        """Prompt tokens to compute for those here; of those waiting, what is not held as they come."""
        return self.queue.backlog_tokens

    @property
    def unanswered_tokens(self) -> int:
        """Prompt tokens to compute for those without a first token, as a router that announces believed."""
        return self.queue.unanswered_tokens

    @property
    def stalls(self) -> int:
        """Writes that must be taken before the next step."""
        return self._stepper.stalls

    @property
    def preemptions(self) -> int:
        """Preemptions since the start."""
        return self._stepper.preemptions

    @property
    def finished(self) -> int:
        """Sequences that ended here with all their tokens."""
        return self._departures.finished

    def estimate_s(self, prompt: Prompt, sender: int | None, now_s: float) -> float:
        """Return about how long a new request would take here, with a reply of the assumed length.

        Waiting: what the prompts here still take to compute, or until those ahead leave the way to the
        queue, whichever is longer. Then its own prompt: loads from lower tiers, with what is under way there
        now, and what is left to compute; or its KV from the rank `sender`, which has no entry.
        Then the reply at the present pace, once for each time that sequences fill the rank or its KV pool.
        """
        match = self.hierarchy.lookup(prompt, now_s)
        step, queue = self.step, self.queue
        wait_s = queue.backlog_tokens * self._token_s
        if sender is None:
            wait_s = max(wait_s, self._front_s - now_s)
            prompt_s = self._surroundings.prompt_s(self.place, match, now_s)
        else:
            tokens = prompt.length - match.by_tier[0]
            prompt_s = self._surroundings.receive_s(self.place, sender, tokens, now_s)
        step_s = step.line.at_s(step.context_tokens(now_s) + prompt.length)
        rounds = self._rounds()
        lacking_tokens = queue.lacking_tokens + prompt.length - match.by_tier[0] + self._assumed_reply_tokens
        over_blocks = lacking_tokens / self._block_tokens - self.hierarchy.tiers[0].room_blocks
        if over_blocks > 0:
            rounds = max(rounds, 1.0 + over_blocks / self._pool_blocks)
        return prompt_s + wait_s + self._assumed_reply_tokens * rounds * step_s

    def least_s(self, prompt: Prompt, now_s: float) -> float:
        """Return what `estimate_s` is at least: the caches are not asked."""
        step, queue = self.step, self.queue
        step_s = step.line.at_s(step.context_tokens(now_s) + prompt.length)
        return queue.backlog_tokens * self._token_s + self._assumed_reply_tokens * self._rounds() * step_s

    def enter_s(self, prompt_tokens: int, now_s: float) -> float:
        """Return the seconds that a request sent now spends before the queue."""
        seconds, steps, token_s, alone = self._entry
        seconds += token_s * prompt_tokens
        if alone:
            begins_s = max(now_s, self._front_s)
            self._front_s = begins_s + alone * seconds
            seconds += begins_s - now_s
        batch = self.batch
        if not steps or not batch.members:
            return seconds
        context_tokens = self.step.context_tokens(now_s)
        line = self.cost.decode_line(len(batch), context_tokens)
        return seconds + steps * line.at_s(context_tokens)

    def submit(self, sequence: Sequence, now_s: float) -> None:
        """Queue a sequence; it joins the step that starts now, else the next."""
        self.queue.add(sequence, now_s)
        if not self.queue.is_blocked:
            self._stepper.wake(now_s)

    def cancel(self, sequence: Sequence, now_s: float) -> None:
        """Give a sequence up."""
        self._stepper.cancel(sequence, now_s)

    def expire(self, now_s: float) -> None:
        """Let the memories hand on what has outlived its TTL."""
        self._stepper.take_begun(now_s)
        self.pool.expire(now_s)

    def landed(self, sequence: Sequence, transfer: Transfer, now_s: float) -> None:
        """A read for a sequence has arrived, if it still is what it was started for."""
        self._stepper.take_begun(now_s)
        self.hierarchy.land(transfer, now_s)
        if sequence.handle is not transfer.handle:
            return
        if self._surroundings.holds_steps(self.place, transfer.tier_index):
            sequence.step_loads -= 1
            if not sequence.step_loads:
                self._stepper.landed(sequence, now_s)
            return
        sequence.loads -= 1
        if not sequence.loads:
            self._stepper.loaded(sequence, now_s)

    def copying(self, slowdown: float, count: int, now_s: float) -> None:
        """So many more copies that slow steps by a share are under way, from the next step on."""
        self.step.slow(slowdown, count)
        self.step.cut(now_s)

    def received(self, sequence: Sequence, now_s: float) -> None:
        """The KV of a sequence's prompt has arrived from the prefill instance."""
        self._stepper.take_begun(now_s)
        self._stepper.received(sequence, now_s)

    def stall(self, now_s: float) -> None:
        """A write must be taken before the next step."""
        self._stepper.stall(now_s)

    def unstall(self, now_s: float) -> None:
        """One of the writes that stall the rank was taken."""
        self._stepper.unstall(now_s)

    def sent(self, sequence: Sequence, handle: Handle, now_s: float) -> None:
        """Another rank has the sequence's KV, or no longer wants it."""
        request = sequence.request
        del self.pool.held[request.request_id]
        self.pool.release(handle, now_s, request.prompt.length)
        self.queue.is_blocked = False
        self._stepper.wake(now_s)

    def run(self, now_s: float) -> None:
        """End the step or phase that is due now, and begin the next."""
        self._stepper.run(now_s)

    def next_token_s(self, after_s: float) -> float:
        """Return the end of the first step that ends after a time and gives anyone a token."""
        return self.step.next_token_s(after_s)

    def report(self, after_s: float, now_s: float, out: list[Event]) -> None:
        """Append the tokens of the steps under way that ended in (after, now]."""
        self.step.report(after_s, now_s, out)

    def _rounds(self) -> float:
        """Return how many times over the requests here fill the rank, with one more."""
        count = len(self.batch) + len(self.queue.waiting) + len(self.queue.entering)
        return 1.0 + count // self._max_sequences

    def handles(self) -> list[Handle]:
        """Return every handle that holds KV here."""
        return self.pool.handles()

    def audit(self) -> None:
        """Check sums against loops over what they sum up.

        Raises:
            AuditError: A sum does not balance.
        """
        name = f"replica {self.replica}"
        self.pool.audit(name)
        members = (*self.open.values(), *self.waiting.values(), *self.queue.entering.values())
        backlog = sum(member.backlog_tokens for member in members)
        if self.backlog_tokens != backlog:
            raise AuditError(f"{name}: backlog is {backlog}, the sum says {self.backlog_tokens}")
        lacking = sum(member.lacking_tokens for member in members)
        if self.queue.lacking_tokens != lacking:
            raise AuditError(f"{name}: {lacking} tokens lack, the sum says {self.queue.lacking_tokens}")
        unanswered = sum(member.announced_tokens for member in members)
        if self.unanswered_tokens != unanswered:
            raise AuditError(f"{name}: {unanswered} announced, the sum says {self.unanswered_tokens}")
        if any(member.lacking_tokens for member in self.open.values()):
            raise AuditError(f"{name}: admitted sequences lack KV")
