"""One scheduler with its own KV pool: it composes steps, and says when the next thing happens.

A step gives each decoding sequence one token and spends what is left of the token budget on prompts, first
those begun, then those waiting, in order. Steps without prompts are run as one phase, in closed form, until
a sequence finishes, the pool or the cost's line ends, or somebody new can join. The latest admitted is
preempted when the pool runs out, and is computed again. What decoding takes of the pool is counted at once,
and taken from what is cached there before anything is given back, published or admitted. Where it matters
when that is written to the tiers below, a phase ends before it evicts anything.
"""

from __future__ import annotations

import math
from collections import OrderedDict, deque
from typing import Protocol

from swarm.context.tree import Node, Prompt
from swarm.errors import AuditError
from swarm.fleet.batch import Batch
from swarm.fleet.events import CacheUse, Event, Finished, FirstToken, Tokens
from swarm.fleet.phase import DecodePhase
from swarm.fleet.rates import Chunk, Cost, Entry
from swarm.fleet.sequence import Sequence
from swarm.kvcache.hierarchy import Hierarchy
from swarm.kvcache.match import Match
from swarm.kvcache.moves import Handle, Transfer
from swarm.kvcache.tier import Tier

_NOWHERE = Node("a batch's growth")
AHEAD_PART = 1024
"""One block in so many of a pool may be evicted before decoding needs its room: none where it has fewer."""


class Surroundings(Protocol):
    """What a rank needs of the fleet around it."""

    def read(self, rank: Rank, transfer: Transfer, sequence: Sequence, now_s: float) -> bool:
        """Start a read; False where it has landed at once."""

    def write(self, rank: Rank, transfers: list[Transfer], now_s: float) -> None:
        """Start writes; may stall the rank."""

    def receive(self, rank: Rank, sequence: Sequence, tokens: int, now_s: float) -> bool:
        """Start the move of a prompt's KV to a decode rank; False where it has arrived at once."""

    def watch_expiry(self, rank: Rank) -> None:
        """Call the rank's `expire` when blocks have outlived a tier's TTL that another one keeps longer."""

    def use_tokens(self, rank: Rank, match: Match, now_s: float) -> int | None:
        """Return how much of a match to use, the rest being faster to compute; None for all."""

    def hand_over(self, sequence: Sequence, now_s: float) -> None:
        """Find the rank that decodes a sequence whose prompt is computed."""

    def let_sender_go(self, sequence: Sequence, now_s: float) -> None:
        """The prefill rank of a sequence, if it has one, need not hold its KV any longer."""


def _ahead_blocks(tiers: tuple[Tier, ...]) -> int | None:
    """Return how many blocks to evict at a time for decoding; None where it does not matter when.

    It does where tiers below are shared, or take time to write: what is still on its way there does not hit.
    """
    slow = [
        tier.spec.scope != "replica"
        or tier.spec.write_bytes_per_s is not None
        or tier.spec.write_latency_s > 0
        for tier in tiers[1:]
    ]
    capacity = tiers[0].capacity_blocks
    return capacity // AHEAD_PART if any(slow) and capacity is not None else None


class Rank:
    """A scheduler; `due[place]` is when it next wants `run` to be called, infinite if never."""

    def __init__(
        self,
        *,
        place: int,
        replica: int,
        cost: Cost,
        entry: Entry,
        hierarchy: Hierarchy,
        max_batched_tokens: int,
        max_sequences: int,
        assumed_reply_tokens: int,
        hands_over: bool,
        due: list[float],
        events: list[Event],
        surroundings: Surroundings,
        sequences: dict[int, Sequence],
    ) -> None:
        self.replica = replica
        self.cost = cost
        self.entering = 0
        """Requests on their way to the queue."""
        self._entry = entry
        self.hierarchy = hierarchy
        self.waiting: OrderedDict[int, Sequence] = OrderedDict()
        self.open: dict[int, Sequence] = {}
        """Admitted, in order: they hold KV here."""
        self.held: dict[int, Sequence] = {}
        """Computed here and not yet with the rank that decodes them."""
        self.batch = Batch(hierarchy.rules.block_tokens)
        self.stalls = 0
        """Writes that must be taken before the next step."""
        self.backlog_tokens = 0
        """Prompt tokens to compute for those here; of those waiting, what is not held as they come."""
        self.finished = 0
        self.preemptions = 0
        self.query_tokens = 0
        self.hit_tokens = 0
        self._place = place
        self._max_batched_tokens = max_batched_tokens
        self._max_sequences = max_sequences
        self._assumed_reply_tokens = assumed_reply_tokens
        self._token_s = cost.prefill_s(0, max_batched_tokens) / max_batched_tokens
        self._line = cost.decode_line(1, 0)
        self._hands_over = hands_over
        self._due = due
        self._events = events
        self._surroundings = surroundings
        self._sequences = sequences
        """Every sequence of the fleet that has not ended."""
        self._pending: deque[Sequence] = deque()
        self._joining: deque[Sequence] = deque()
        self._late: list[Sequence] = []
        """Joined with this step, longer after their last token than a step takes."""
        self._leaving: list[Sequence] = []
        self._chunks: list[tuple[Sequence, Chunk]] = []
        self._budget = 0
        self._phase: DecodePhase | None = None
        self._is_stepping = False
        self._is_composing = False
        """A step is being ended or begun: whoever wants to join is seen without being woken."""
        self._is_blocked = False
        """The first in the queue did not fit when last tried, and nothing has been given back since."""
        self._started_s = 0.0
        self._ended_s = 0.0
        self._lead_s = 0.0
        """From the end of the last step to the start of this one, if anyone was decoding."""
        self._ahead_blocks = _ahead_blocks(hierarchy.tiers)
        """Blocks to evict at a time for decoding; None where nobody could tell when they are."""
        self._batch_handle = Handle(_NOWHERE, 0)
        """Holds the room of tokens that the batch has generated since its members joined."""
        self._batch_blocks = 0
        """Blocks of the batch's members as far as they were taken, that room included."""

    @property
    def running(self) -> int:
        """Sequences admitted, whether computing, decoding or loading."""
        return len(self.open)

    def estimate_s(self, prompt: Prompt, now_s: float) -> float:
        """Return about how long a new request would take here, with a reply of the assumed length."""
        held_tokens = self.hierarchy.peek(prompt, now_s)
        line, count = self._line, len(self.batch) + len(self.waiting)
        step_s = line.at_s(self._context_tokens(now_s) + prompt.length)
        rounds = 1 + count // self._max_sequences
        return (
            self.cost.prefill_s(held_tokens, prompt.length - held_tokens)
            + self.backlog_tokens * self._token_s
            + self._assumed_reply_tokens * rounds * step_s
        )

    def entry_s(self, prompt_tokens: int, now_s: float) -> float:
        """Return the seconds that a request sent now spends before the queue."""
        seconds, steps, token_s = self._entry
        seconds += token_s * prompt_tokens
        batch = self.batch
        if not steps or not batch.members:
            return seconds
        context_tokens = self._context_tokens(now_s)
        line = self.cost.decode_line(len(batch), context_tokens)
        return seconds + steps * line.at_s(context_tokens)

    def submit(self, sequence: Sequence, now_s: float) -> None:
        """Queue a sequence; it joins the step that starts now, else the next."""
        sequence.rank = self
        sequence.state = "waiting"
        if sequence.sender is None:
            self._expect(sequence, sequence.target - self.hierarchy.peek(sequence.context(), now_s))
        self.waiting[sequence.request.request_id] = sequence
        if not self._is_blocked:
            self._wake(now_s)

    def cancel(self, sequence: Sequence, now_s: float) -> None:
        """Give a sequence up: at once where no step has it, else when the step under way has ended."""
        state = sequence.state
        if self._is_stepping and state in ("chunk", "decode"):
            if state == "decode" and self._phase is not None:
                self._cut_phase(now_s)
                if self._due[self._place] <= now_s:
                    # A step inside the phase ends now: the next one begins, with this sequence in it.
                    self.run(now_s)
                    self.cancel(sequence, now_s)
                    return
            self._leaving.append(sequence)
            sequence.state = "cancelled"
            return
        if state == "waiting":
            del self.waiting[sequence.request.request_id]
        elif state == "pending":
            self._pending.remove(sequence)
        elif state == "joining":
            self._joining.remove(sequence)
        elif state == "decode":
            self.batch.leave(sequence)
            self._leave_batch(sequence)
        self._take_room_begun(now_s)
        self._let_go(sequence, now_s)
        self._is_blocked = False
        self._wake(now_s)

    def expire(self, now_s: float) -> None:
        """Let the memories hand on what has outlived its TTL."""
        self._take_room_begun(now_s)
        transfers = self.hierarchy.expire(now_s)
        if transfers:
            self._surroundings.write(self, transfers, now_s)

    def landed(self, sequence: Sequence, transfer: Transfer, now_s: float) -> None:
        """A read for a sequence has arrived, if it still is what it was started for."""
        self._take_room_begun(now_s)
        self.hierarchy.land(transfer, now_s)
        if sequence.handle is not transfer.handle:
            return
        sequence.loads -= 1
        if not sequence.loads:
            sequence.state = "pending"
            self._pending.append(sequence)
            self._wake(now_s)

    def received(self, sequence: Sequence, now_s: float) -> None:
        """The KV of a sequence's prompt has arrived from the prefill instance."""
        self._take_room_begun(now_s)
        self._receive(sequence)
        self._wake(now_s)
        if self._joining and self._phase is not None:
            self._cut_phase(now_s)

    def stall(self, now_s: float) -> None:
        """A write must be taken before the next step."""
        self.stalls += 1
        if self._phase is not None:
            self._cut_phase(now_s)

    def unstall(self, now_s: float) -> None:
        """One of the writes that stall the rank was taken."""
        self.stalls -= 1
        self._wake(now_s)

    def sent(self, sequence: Sequence, handle: Handle, now_s: float) -> None:
        """Another rank has the sequence's KV, or no longer wants it."""
        del self.held[sequence.request.request_id]
        self._release(handle, now_s, sequence.request.prompt.length)
        self._is_blocked = False
        self._wake(now_s)

    def run(self, now_s: float) -> None:
        """End the step or phase that is due now, and begin the next."""
        self._is_stepping = False
        self._is_composing = True
        self._ended_s = now_s
        self._settle(now_s)
        batch = self.batch
        if batch.members and (self._leaving or self._chunks or batch.steps_left() <= 0):
            self._take_room(batch.step, now_s)
        finished = batch.pop_finished()
        while finished is not None:
            self._leave_batch(finished)
            if finished.state == "cancelled":
                self._let_go(finished, now_s)
            else:
                self._finish(finished, now_s)
            finished = batch.pop_finished()
        for sequence, chunk in self._chunks:
            self._computed(sequence, chunk, now_s)
        self._chunks.clear()
        for sequence in self._leaving:
            if sequence.state == "ended":
                continue
            if sequence.request.request_id in batch.members:
                batch.leave(sequence)
                self._leave_batch(sequence)
            self._let_go(sequence, now_s)
        self._leaving.clear()
        self._compose(now_s)

    def next_token_s(self, after_s: float) -> float:
        """Return the end of the first step that ends after a time and gives anyone a token."""
        phase = self._phase
        if not self._is_stepping:
            return math.inf
        if phase is None:
            return self._due[self._place]
        return phase.at_s(min(phase.steps, phase.steps_done(after_s) + 1))

    def report(self, after_s: float, now_s: float, out: list[Event]) -> None:
        """Append the tokens of the steps under way that ended in (after, now]."""
        if not self._is_stepping:
            return
        phase, batch = self._phase, self.batch
        if phase is not None:
            done = min(phase.steps, phase.steps_done(now_s))
            steps = [(phase.at_s(k), k) for k in range(phase.steps_done(after_s) + 1, done + 1)]
        else:
            due_s = self._due[self._place]
            steps = [(due_s, 1)] if after_s < due_s <= now_s else []
        for at_s, k in steps:
            for request_id, sequence in batch.members.items():
                if sequence.state == "decode":
                    out.append(Tokens(at_s, request_id, batch.tokens_of(sequence, batch.step + k)))
            for sequence, chunk in self._chunks:
                is_last = sequence.computed + chunk.tokens == sequence.target
                if sequence.emitted and is_last and sequence.state == "chunk":
                    out.append(Tokens(at_s, sequence.request.request_id, sequence.emitted + 1))

    def handles(self) -> list[Handle]:
        """Return every handle that holds KV here."""
        handles = [sequence.handle for sequence in self.open.values()]
        handles += [sequence.sender_handle for sequence in self.held.values()]
        return [handle for handle in handles if handle is not None] + [self._batch_handle]

    def _context_tokens(self, now_s: float) -> int:
        """Return the tokens that the batch holds now, those of the phase under way included."""
        batch, phase = self.batch, self._phase
        if phase is None:
            return batch.context_tokens
        return batch.context_tokens + len(batch) * min(phase.steps, phase.steps_done(now_s))

    def _wake(self, now_s: float) -> None:
        """Somebody may be able to join: begin a step, extend one that starts now, or end a phase early."""
        if self._is_composing:
            return
        if not self._is_stepping:
            self._compose(now_s)
        elif self._started_s == now_s:
            self._join_late_comers(now_s)
            self._fill(now_s)
            self._launch()
        elif self._phase is not None and (self._pending or self._can_admit()):
            self._cut_phase(now_s)

    def _expect(self, sequence: Sequence, tokens: int) -> None:
        """Set what is to be computed for a sequence."""
        self.backlog_tokens += tokens - sequence.backlog_tokens
        sequence.backlog_tokens = tokens

    def _can_admit(self) -> bool:
        return bool(self.waiting) and not self._is_blocked and len(self.open) < self._max_sequences

    def _cut_phase(self, now_s: float) -> None:
        """Let the phase end with the step under way."""
        phase = self._phase
        assert phase is not None
        steps = max(1, phase.steps_until(now_s))
        if steps < phase.steps:
            phase.steps = steps
            self._due[self._place] = phase.at_s(steps)

    def _settle(self, now_s: float) -> None:
        """Give the batch the tokens of the step or phase that has ended."""
        batch, phase = self.batch, self._phase
        if not batch.members:
            return
        if phase is None:
            steps = 1
            first_s = last_s = now_s - self._started_s
        else:
            steps = phase.steps
            first_s, last_s = phase.duration_s(1), phase.duration_s(steps)
            self._phase = None
        if self._lead_s > 0.0:
            batch.note_gap(batch.step + 0.5, self._lead_s + first_s)
        for sequence in self._late:
            sequence.gap_max_s = max(sequence.gap_max_s, self._started_s - sequence.token_s + first_s)
        self._late.clear()
        batch.note_gap(batch.step + steps, last_s)
        batch.advance(steps)

    def _take_room(self, step: int, now_s: float) -> None:
        """Take what the batch needs to hold the tokens of `step`."""
        more = self.batch.room.blocks(step) - self._batch_blocks
        if more <= 0:
            return
        growth = self.hierarchy.grow(self._batch_handle, more * self.hierarchy.rules.block_tokens, now_s)
        assert growth.ok, "a phase ends, and the latest is preempted, before the pool is exceeded"
        self._batch_blocks += more
        if growth.transfers:
            self._surroundings.write(self, growth.transfers, now_s)

    def _take_room_begun(self, now_s: float) -> None:
        """Take what the steps of the phase have needed that have begun by now."""
        if self._phase is not None:
            self._take_room(self.batch.step + self._phase.steps_begun(now_s), now_s)

    def _hand_room(self, sequence: Sequence, tokens: int) -> None:
        """Let a sequence's own handle hold the room of the tokens that it has generated."""
        rules, handle, batch_handle = self.hierarchy.rules, sequence.handle, self._batch_handle
        assert handle is not None
        if tokens <= handle.tokens:
            return
        blocks = rules.room_for(tokens) - rules.room_for(handle.tokens)
        handle.tokens = tokens
        handle.reserved += blocks
        batch_handle.reserved -= blocks
        batch_handle.tokens -= blocks * rules.block_tokens

    def _leave_batch(self, sequence: Sequence) -> None:
        """Take the room of a sequence that has left the batch out of the batch's."""
        self._hand_room(sequence, sequence.computed)
        self._batch_blocks -= self.hierarchy.rules.room_for(sequence.computed)

    def _compose(self, now_s: float) -> None:
        """Begin a step now, if there is anything to do and no write in the way."""
        self._is_composing = False
        self._due[self._place] = math.inf
        if self.stalls:
            self._take_room(self.batch.step, now_s)
            return
        self._is_composing = True
        batch = self.batch
        self._started_s = now_s
        self._lead_s = now_s - self._ended_s if batch.members else 0.0
        while self._joining:
            self._join(self._joining.popleft(), now_s)
        while batch.room.blocks(batch.step + 1) > self._batch_blocks + self.hierarchy.room_blocks:
            self._take_room(batch.step, now_s)
            self._preempt(now_s)
        self._budget = self._max_batched_tokens - len(batch)
        self._fill(now_s)
        self._is_composing = False
        self._launch()

    def _join(self, sequence: Sequence, now_s: float) -> None:
        late = now_s > sequence.token_s
        if late:
            self._late.append(sequence)
        self._batch_blocks += self.hierarchy.rules.room_for(sequence.computed)
        self.batch.join(sequence, self.batch.step + (0.5 if late else 0.0))

    def _join_late_comers(self, now_s: float) -> None:
        """Let those join the step that starts now who fit into what is left of its budget and of the pool."""
        batch, rules = self.batch, self.hierarchy.rules
        while self._joining and self._budget > 0:
            tokens = self._joining[0].computed
            needed = batch.room.blocks(batch.step + 1) + rules.room_for(tokens + 1)
            if needed > self._batch_blocks + rules.room_for(tokens) + self.hierarchy.room_blocks:
                return
            self._join(self._joining.popleft(), now_s)
            self._budget -= 1
            if self._chunks:
                self._take_room(batch.step + 1, now_s)

    def _fill(self, now_s: float) -> None:
        """Spend the budget on prompts."""
        pending = self._pending
        while self._budget > 0:
            if pending:
                self._add_chunk(pending.popleft(), now_s)
            elif not self.waiting or len(self.open) >= self._max_sequences or not self._admit_next(now_s):
                return

    def _add_chunk(self, sequence: Sequence, now_s: float) -> None:
        self._take_room(self.batch.step + 1, now_s)
        tokens = min(self._budget, sequence.target - sequence.computed)
        self._budget -= tokens
        self._chunks.append((sequence, Chunk(sequence.computed, tokens)))
        sequence.state = "chunk"
        assert sequence.handle is not None
        self.hierarchy.publish(sequence.handle, sequence.computed + tokens)

    def _admit_next(self, now_s: float) -> bool:
        """Admit the first in the queue; False if the pool has no room for it."""
        self._take_room(self.batch.step + 1, now_s)
        request_id, sequence = next(iter(self.waiting.items()))
        hierarchy, around = self.hierarchy, self._surroundings
        match = hierarchy.lookup(sequence.context(), now_s)
        comes_with_kv = sequence.sender is not None
        is_first = not sequence.cache.by_tier
        use_tokens = match.by_tier[0] if comes_with_kv else around.use_tokens(self, match, now_s)
        ideal_tokens = sequence.cache.ideal_tokens if is_first else None
        admission = hierarchy.admit(match, now_s, use_tokens=use_tokens, ideal_tokens=ideal_tokens)
        writes = [transfer for transfer in admission.transfers if transfer.direction == "write"]
        if writes:
            around.write(self, writes, now_s)
        if admission.handle is None:
            assert admission.outcome == "wait", "what fits no pool is refused at the door"
            self._is_blocked = True
            return False
        self._is_blocked = False
        del self.waiting[request_id]
        self.open[request_id] = sequence
        sequence.handle = admission.handle
        if sequence.request.keep_s:
            admission.handle.keep_blocks = sequence.request.keep_tokens // hierarchy.rules.block_tokens
            admission.handle.keep_s = sequence.request.keep_s
        sequence.computed = admission.used_tokens
        if comes_with_kv:
            sequence.state = "arriving"
            if not around.receive(self, sequence, sequence.target - admission.used_tokens, now_s):
                self._receive(sequence)
            return True
        self._expect(sequence, sequence.target - admission.used_tokens)
        self.query_tokens += sequence.target
        self.hit_tokens += admission.used_tokens
        if is_first:
            sequence.admitted_s = now_s
            sequence.cache = CacheUse(
                sequence.target,
                admission.used_tokens,
                admission.ideal_tokens,
                admission.used_by_tier,
                admission.lost_to,
            )
        sequence.state = "loading"
        for transfer in admission.transfers:
            if transfer.direction == "read":
                sequence.loads += around.read(self, transfer, sequence, now_s)
        if not sequence.loads:
            sequence.state = "pending"
            self._pending.append(sequence)
        return True

    def _receive(self, sequence: Sequence) -> None:
        assert sequence.handle is not None
        sequence.computed = sequence.target
        self.hierarchy.publish(sequence.handle, sequence.target)
        sequence.state = "joining"
        self._joining.append(sequence)

    def _launch(self) -> None:
        """Set when the step, or the phase of steps without prompts, ends."""
        batch, context_tokens = self.batch, self.batch.context_tokens
        count = len(batch)
        self._phase = None
        self._is_stepping = True
        if self._chunks:
            chunks = [chunk for _, chunk in self._chunks]
            self._due[self._place] = self._started_s + self.cost.step_s(chunks, count, context_tokens)
        elif count:
            line = self._line = self.cost.decode_line(count, context_tokens)
            steps = batch.steps_left()
            if line.until_tokens < context_tokens + count * steps:
                steps = max(1, math.ceil((line.until_tokens - context_tokens) / count))
            room_blocks = self._batch_blocks + self.hierarchy.room_blocks
            steps = max(1, batch.room.steps_within(batch.step, room_blocks, steps))
            if self._ahead_blocks is not None:
                self._evict_ahead(self._ahead_blocks)
                free_blocks = self._batch_blocks + self.hierarchy.tiers[0].free_blocks
                steps = max(1, batch.room.steps_within(batch.step, free_blocks, steps))
            if self._leaving or self._joining or self.stalls:
                steps = 1
            self._phase = DecodePhase(
                anchor_s=self._started_s,
                first_s=line.at_s(context_tokens),
                more_s=line.slope_s * count,
                steps=steps,
            )
            self._due[self._place] = self._phase.at_s(steps)
        else:
            self._is_stepping = False

    def _evict_ahead(self, ahead_blocks: int) -> None:
        """Free what the step that starts needs, and some more: a phase ends before it evicts anything."""
        hierarchy = self.hierarchy
        needed = self.batch.room.blocks(self.batch.step + 1) - self._batch_blocks
        if needed > hierarchy.tiers[0].free_blocks:
            blocks = min(max(needed, ahead_blocks), hierarchy.room_blocks)
            transfers = hierarchy.free(int(blocks), self._started_s)
            if transfers:
                self._surroundings.write(self, transfers, self._started_s)

    def _computed(self, sequence: Sequence, chunk: Chunk, now_s: float) -> None:
        """A chunk of a prompt is computed; with the last of them a token is given."""
        sequence.computed += chunk.tokens
        self._expect(sequence, sequence.target - sequence.computed)
        if sequence.state == "cancelled":
            return
        if sequence.computed < sequence.target:
            sequence.state = "pending"
            self._pending.appendleft(sequence)
            return
        request = sequence.request
        if sequence.emitted == 0:
            sequence.first_s = now_s
            self._events.append(FirstToken(now_s, request.request_id, sequence.cache, self.replica))
        else:
            sequence.gap_max_s = max(sequence.gap_max_s, now_s - sequence.token_s)
        sequence.emitted += 1
        sequence.token_s = now_s
        if sequence.emitted == sequence.output_tokens:
            self._finish(sequence, now_s)
        elif self._hands_over:
            self._send(sequence, now_s)
        else:
            self._join(sequence, now_s)

    def _send(self, sequence: Sequence, now_s: float) -> None:
        """Keep a prompt's KV until the rank that decodes it has it."""
        del self.open[sequence.request.request_id]
        self.held[sequence.request.request_id] = sequence
        sequence.sender = self
        sequence.sender_handle = sequence.handle
        sequence.handle = None
        self._surroundings.hand_over(sequence, now_s)

    def _preempt(self, now_s: float) -> None:
        """Take the room of the latest admitted, who goes first in the queue with all its tokens."""
        request_id = next(reversed(self.open))
        sequence = self.open.pop(request_id)
        handle = sequence.handle
        assert handle is not None and self.open, "one sequence always fits, or was refused at the door"
        self.preemptions += 1
        state = sequence.state
        if state == "decode":
            self.batch.leave(sequence)
            self._leave_batch(sequence)
            if sequence in self._late:
                self._late.remove(sequence)
            else:
                sequence.token_s = self._ended_s
        elif state == "pending":
            self._pending.remove(sequence)
        self._release(handle, now_s, 0 if state in ("loading", "arriving") else sequence.computed)
        sequence.handle = None
        sequence.loads = 0
        if sequence.sender is None:
            sequence.target = sequence.request.prompt.length + sequence.emitted
            self._expect(sequence, sequence.target)
        sequence.computed = 0
        sequence.state = "waiting"
        self.waiting[request_id] = sequence
        self.waiting.move_to_end(request_id, last=False)

    def _finish(self, sequence: Sequence, now_s: float) -> None:
        self.finished += 1
        gaps = sequence.output_tokens - 1
        mean_s = (now_s - sequence.first_s) / gaps if gaps else 0.0
        request_id = sequence.request.request_id
        self._events.append(Finished(now_s, request_id, sequence.output_tokens, mean_s, sequence.gap_max_s))
        losses = self.hierarchy.losses
        if losses is not None and sequence.request.echo:
            losses.ideal.output(sequence.request.prompt, sequence.output_tokens)
        self._let_go(sequence, now_s)

    def _let_go(self, sequence: Sequence, now_s: float) -> None:
        """Give back what a sequence holds; its computed blocks stay as long as nobody needs the room."""
        self._expect(sequence, 0)
        sequence_handle, state = sequence.handle, sequence.state
        self.open.pop(sequence.request.request_id, None)
        if sequence_handle is not None:
            self._release(
                sequence_handle, now_s, 0 if state in ("loading", "arriving") else sequence.computed
            )
            sequence.handle = None
        sequence.state = "ended"
        self._surroundings.let_sender_go(sequence, now_s)
        del self._sequences[sequence.request.request_id]

    def _release(self, handle: Handle, now_s: float, computed_tokens: int) -> None:
        transfers = self.hierarchy.release(handle, now_s, computed_tokens)
        if transfers:
            self._surroundings.write(self, transfers, now_s)
        self._surroundings.watch_expiry(self)

    def audit(self) -> None:
        """Check the batch's sums against a loop over its members."""
        batch = self.batch
        tokens = [member.computed + batch.step - member.join_step for member in batch.members.values()]
        rules = self.hierarchy.rules
        handed = sum(
            rules.room_for(member.handle.tokens) for member in batch.members.values() if member.handle
        )
        backlog = sum(member.backlog_tokens for member in (*self.open.values(), *self.waiting.values()))
        for name, says, is_so in (
            ("context", batch.context_tokens, sum(tokens)),
            ("blocks", self._batch_blocks, handed + self._batch_handle.reserved),
            ("room", batch.room.blocks(batch.step), sum(rules.room_for(count) for count in tokens)),
            ("backlog", self.backlog_tokens, backlog),
        ):
            if says != is_so:
                raise AuditError(f"replica {self.replica}: {name} is {is_so}, the sum says {says}")
