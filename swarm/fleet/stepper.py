"""Composes a rank's steps.

A step gives each decoding sequence one token and spends what is left of the token budget on prompts, first
those begun, then those waiting, in order. Steps without prompts are run as one phase, in closed form, until
a sequence finishes, the pool or the cost's line ends, or somebody new can join. The latest admitted is
preempted when the pool runs out, and is computed again.
"""

from __future__ import annotations

from collections import deque

from swarm.fleet.agenda import INFINITE, Agenda
from swarm.fleet.batch import DecodeBatch
from swarm.fleet.cost.base import Chunk
from swarm.fleet.departures import Departures
from swarm.fleet.pool import Pool
from swarm.fleet.queue import Queue
from swarm.fleet.sequence import Sequence
from swarm.fleet.step import Step


class Stepper:
    """Ends one step and begins the next, with whoever can take part in it."""

    def __init__(
        self,
        *,
        place: int,
        agenda: Agenda,
        queue: Queue,
        pool: Pool,
        batch: DecodeBatch,
        step: Step,
        departures: Departures,
        max_batched_tokens: int,
        hands_over: bool,
        saves_states: bool,
    ) -> None:
        self.stalls = 0
        """Writes that must be taken before the next step."""
        self.preemptions = 0
        self._place = place
        self._agenda = agenda
        self._queue = queue
        self._pool = pool
        self._batch = batch
        self._step = step
        self._departures = departures
        self._max_batched_tokens = max_batched_tokens
        self._hands_over = hands_over
        self._saves_states = saves_states
        """Chunks end where states are saved: at ends of blocks."""
        self._pending: deque[Sequence] = deque()
        self._joining: deque[Sequence] = deque()
        self._leaving: list[Sequence] = []
        self._budget = 0
        self._is_composing = False
        """A step is being ended or begun: whoever wants to join is seen without being woken."""

    def run(self, now_s: float) -> None:
        """End the step or phase that is due now, and begin the next."""
        step, batch = self._step, self._batch
        self._is_composing = True
        step.settle(now_s)
        if batch.members and (self._leaving or step.chunks or batch.steps_left() <= 0):
            self._pool.take(batch.step, now_s)
        finished = batch.pop_finished()
        while finished is not None:
            self._pool.remove_member(finished)
            if finished.state == "cancelled":
                self._departures.let_go(finished, now_s)
            else:
                self._departures.finish(finished, now_s)
            finished = batch.pop_finished()
        if step.chunks:
            for sequence, chunk in step.chunks:
                self._computed(sequence, chunk, now_s)
            step.chunks.clear()
        if self._leaving:
            self._let_leave(now_s)
        self._compose(now_s)

    def wake(self, now_s: float) -> None:
        """Somebody may be able to join: begin a step, extend one that starts now, or end a phase early."""
        step = self._step
        if self._is_composing:
            return
        if not step.is_running:
            self._compose(now_s)
        elif step.started_s == now_s:
            self._join_late_comers(now_s)
            self._fill(now_s)
            self._launch()
        elif step.phase is not None and (self._pending or self._queue.can_admit()):
            step.cut(now_s)

    def take_begun(self, now_s: float) -> None:
        """Take what the steps of the phase have needed that have begun by now."""
        phase = self._step.phase
        if phase is not None:
            self._pool.take(self._batch.step + phase.steps_begun(now_s), now_s)

    def loaded(self, sequence: Sequence, now_s: float) -> None:
        """All that was read for a sequence is here: its prompt can be computed."""
        sequence.become("pending")
        self._pending.append(sequence)
        self.wake(now_s)

    def landed(self, sequence: Sequence, now_s: float) -> None:
        """All that a step waits for on behalf of a sequence is here; the step may be one to come."""
        if sequence.state in ("chunk", "cancelled"):
            self._step.landed(sequence, now_s)

    def received(self, sequence: Sequence, now_s: float) -> None:
        """The KV of a sequence's prompt is here: it can decode."""
        self._pool.arrived(sequence)
        self._joining.append(sequence)
        self.wake(now_s)
        if self._joining:
            self._step.cut(now_s)

    def stall(self, now_s: float) -> None:
        """A write must be taken before the next step."""
        self.stalls += 1
        self._step.cut(now_s)

    def unstall(self, now_s: float) -> None:
        """One of the writes that stall the rank was taken."""
        self.stalls -= 1
        self.wake(now_s)

    def cancel(self, sequence: Sequence, now_s: float) -> None:
        """Give a sequence up: at once where no step has it, else when the step under way has ended."""
        state, step = sequence.state, self._step
        if step.is_running and state in ("chunk", "decode"):
            if state == "decode" and step.phase is not None:
                step.cut(now_s)
                if self._agenda.due_s[self._place] <= now_s:
                    # A step inside the phase ends now: the next one begins, with this sequence in it.
                    self.run(now_s)
                    self.cancel(sequence, now_s)
                    return
            self._leaving.append(sequence)
            sequence.become("cancelled")
            return
        if state == "waiting":
            del self._queue.waiting[sequence.request.request_id]
        elif state == "pending":
            self._pending.remove(sequence)
        elif state == "joining":
            self._joining.remove(sequence)
        elif state == "decode":
            self._leave(sequence)
        self.take_begun(now_s)
        self._departures.let_go(sequence, now_s)
        self._queue.is_blocked = False
        self.wake(now_s)

    def _compose(self, now_s: float) -> None:
        """Begin a step now, if there is anything to do and no write in the way."""
        step, batch, pool = self._step, self._batch, self._pool
        self._is_composing = False
        self._agenda.set_due(self._place, INFINITE)
        if self.stalls:
            pool.take(batch.step, now_s)
            return
        self._is_composing = True
        step.begin(now_s)
        while self._joining:
            self._join(self._joining.popleft(), now_s)
        while not pool.fits_step():
            pool.take(batch.step, now_s)
            self._preempt(now_s)
        self._budget = self._max_batched_tokens - len(batch)
        self._fill(now_s)
        self._is_composing = False
        self._launch()

    def _join(self, sequence: Sequence, now_s: float) -> None:
        self._pool.add_member(sequence)
        self._step.join(sequence, now_s)

    def _let_leave(self, now_s: float) -> None:
        """Let those go that were given up while a step had them."""
        for sequence in self._leaving:
            if sequence.state == "ended":
                continue
            if sequence.request.request_id in self._batch.members:
                self._leave(sequence)
            self._departures.let_go(sequence, now_s)
        self._leaving.clear()

    def _leave(self, sequence: Sequence) -> None:
        """Take a sequence out of the batch before it has all its tokens."""
        self._batch.leave(sequence)
        self._pool.remove_member(sequence)

    def _join_late_comers(self, now_s: float) -> None:
        """Let those join the step that starts now who fit into what is left of its budget and of the pool."""
        while self._joining and self._budget > 0:
            if not self._pool.fits_late(self._joining[0].computed):
                return
            self._join(self._joining.popleft(), now_s)
            self._budget -= 1
            if self._step.chunks:
                self._pool.take(self._batch.step + 1, now_s)

    def _fill(self, now_s: float) -> None:
        """Spend the budget on prompts."""
        pending = self._pending
        too_short: list[Sequence] = []
        while self._budget > 0:
            if pending:
                sequence = pending.popleft()
                tokens = self._chunk_tokens(sequence)
                if tokens:
                    self._add_chunk(sequence, tokens, now_s)
                else:
                    too_short.append(sequence)
                continue
            waiting = None if too_short else self._queue.admit_next(now_s)
            if waiting is None:
                break
            sequence = waiting
            if sequence.state == "pending":
                pending.append(sequence)
            elif sequence.state == "joining":
                self._joining.append(sequence)
        if too_short:
            pending.extendleft(reversed(too_short))

    def _chunk_tokens(self, sequence: Sequence) -> int:
        """Return how much of a prompt the step computes.

        With states to save a chunk ends with the last whole block of the prompt, or any before it, so that
        there the state can be saved; what is left of the budget may then be too little for one.
        """
        computed, target = sequence.computed, sequence.target
        tokens = min(self._budget, target - computed)
        if self._saves_states:
            size = self._pool.rules.block_tokens
            last = target - target % size
            if computed + tokens < last:
                return tokens // size * size
            if computed < last:
                return last - computed
        return tokens

    def _add_chunk(self, sequence: Sequence, tokens: int, now_s: float) -> None:
        self._pool.take(self._batch.step + 1, now_s)
        self._budget -= tokens
        self._step.chunks.append((sequence, Chunk(sequence.computed, tokens)))
        sequence.become("chunk")
        assert sequence.handle is not None
        self._pool.hierarchy.publish(sequence.handle, sequence.computed + tokens)
        if self._saves_states:
            self._pool.save_state(sequence.handle, sequence.computed + tokens, now_s)

    def _launch(self) -> None:
        """Set when the step, or the phase of steps without prompts, ends."""
        step = self._step
        step.phase = None
        step.is_running = True
        if step.chunks:
            step.run_chunks()
        elif self._batch.members:
            steps = self._pool.steps_within(step.steps_on_line(), step.started_s)
            step.run_phase(1 if self._leaving or self._joining or self.stalls else steps)
        else:
            step.is_running = False

    def _computed(self, sequence: Sequence, chunk: Chunk, now_s: float) -> None:
        """A chunk of a prompt is computed; with the last of them a token is given."""
        sequence.computed += chunk.tokens
        self._queue.expect(sequence, sequence.target - sequence.computed)
        if sequence.state == "cancelled":
            return
        if sequence.computed < sequence.target:
            sequence.become("pending")
            self._pending.appendleft(sequence)
            return
        self._departures.emit(sequence, now_s)
        if sequence.emitted == sequence.output_tokens:
            self._departures.finish(sequence, now_s)
        elif self._hands_over:
            self._departures.send(sequence, now_s)
        else:
            self._join(sequence, now_s)

    def _preempt(self, now_s: float) -> None:
        """Take the room of the latest admitted, who goes first in the queue with all its tokens."""
        pool = self._pool
        _, sequence = pool.open.popitem()
        assert sequence.handle is not None and pool.open, "one always fits, or was refused at the door"
        self.preemptions += 1
        if sequence.state == "decode":
            self._leave(sequence)
            self._step.withdraw(sequence)
        elif sequence.state == "pending":
            self._pending.remove(sequence)
        pool.give_back(sequence, now_s)
        sequence.loads = sequence.step_loads = 0
        self._queue.add_first(sequence)
