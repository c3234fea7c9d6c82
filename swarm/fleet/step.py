"""The step that a rank has under way, or the phase of steps without prompts: who is in it, when it ends."""

from __future__ import annotations

import math

from swarm.fleet.agenda import INFINITE, Agenda
from swarm.fleet.batch import DecodeBatch
from swarm.fleet.cost.base import Chunk, Cost
from swarm.fleet.events import Event, Tokens
from swarm.fleet.phase import DecodePhase
from swarm.fleet.sequence import Sequence


class Step:
    """A step gives each member of the batch a token and computes its chunks; its end stands in the agenda."""

    def __init__(self, *, place: int, agenda: Agenda, cost: Cost, batch: DecodeBatch) -> None:
        self.is_running = False
        self.phase: DecodePhase | None = None
        self.chunks: list[tuple[Sequence, Chunk]] = []
        self.line = cost.decode_line(1, 0)
        """Of the last phase."""
        self.started_s = 0.0
        self.ended_s = 0.0
        """When the last one ended."""
        self.prefill_s = 0.0
        """Time of steps that computed chunks, while it is counted."""
        self._slowdown = 0.0
        """Share that copies under way add to a step."""
        self._copies: dict[float, int] = {}
        """Copies under way by the share that each adds; they do not add up."""
        self._seconds = 0.0
        """Of the chunks under way, without what they wait for."""
        self._from_s = 0.0
        """When they can be computed, as far as what they wait for has come."""
        self._until_s = 0.0
        """When the last layer of what has come by layers is computed."""
        self._place = place
        self._agenda = agenda
        self._cost = cost
        self._batch = batch
        self._late: list[Sequence] = []
        """Joined with this step, longer after their last token than a step takes."""
        self._lead_s = 0.0
        """From the end of the last step to the start of this one, if anyone was decoding."""

    def begin(self, now_s: float) -> None:
        """Let a step start now: its members and chunks are yet to come."""
        self.started_s = now_s
        self._from_s, self._until_s = now_s, now_s
        self._lead_s = now_s - self.ended_s if self._batch.members else 0.0

    def join(self, sequence: Sequence, now_s: float) -> None:
        """Let a sequence that has its first token decode from this step on."""
        batch = self._batch
        late = now_s > sequence.token_s
        if late:
            self._late.append(sequence)
        batch.join(sequence, batch.step + (0.5 if late else 0.0))

    def withdraw(self, sequence: Sequence) -> None:
        """Note when a sequence that is preempted had its last token."""
        if sequence in self._late:
            self._late.remove(sequence)
        else:
            sequence.token_s = self.ended_s

    def steps_on_line(self) -> int:
        """Return the steps until a member finishes or the cost's line ends, whichever is first."""
        batch = self._batch
        count, context_tokens = len(batch), batch.context_tokens
        line = self.line = self._cost.decode_line(count, context_tokens)
        steps = batch.steps_left()
        if line.until_tokens < context_tokens + count * steps:
            steps = max(1, math.ceil((line.until_tokens - context_tokens) / count))
        return steps

    def run_chunks(self) -> None:
        """Let the step compute its chunks, with a token for each member."""
        batch = self._batch
        chunks = [chunk for _, chunk in self.chunks]
        seconds = self._cost.step_s(chunks, len(batch), batch.context_tokens)
        self._seconds = seconds + seconds * self._slowdown
        self._end_chunks()

    def landed(self, sequence: Sequence, now_s: float) -> None:
        """All that was read for a sequence of the step is here.

        Computing starts when it is, or its first layer; and it ends no earlier than one layer after the last.
        """
        layers = sequence.loads_by_layer
        if layers:
            first_s = sequence.load_s + (now_s - sequence.load_s) / layers
            self._from_s = max(self._from_s, first_s)
            self._until_s = max(self._until_s, now_s + self._seconds / layers)
        else:
            self._from_s = now_s
        self._end_chunks()

    def slow(self, slowdown: float, count: int) -> None:
        """So many more copies are under way that add a share to each step that starts from now on."""
        copies = self._copies
        copies[slowdown] = copies.get(slowdown, 0) + count
        self._slowdown = max((share for share, under_way in copies.items() if under_way), default=0.0)

    def _end_chunks(self) -> None:
        """Set when the chunks end; not before all that they wait for has come."""
        for sequence, _ in self.chunks:
            if sequence.step_loads:
                self._agenda.set_due(self._place, INFINITE)
                return
        self._agenda.set_due(self._place, max(self._from_s + self._seconds, self._until_s))

    def run_phase(self, steps: int) -> None:
        """Let the batch decode for so many steps on the line."""
        batch, line = self._batch, self.line
        phase = self.phase = DecodePhase(
            anchor_s=self.started_s,
            first_s=line.at_s(batch.context_tokens) * (1.0 + self._slowdown),
            more_s=line.slope_s * len(batch) * (1.0 + self._slowdown),
            steps=steps,
        )
        self._agenda.set_due(self._place, phase.at_s(steps))

    def cut(self, now_s: float) -> None:
        """Let a phase end with the step under way."""
        phase = self.phase
        if phase is not None:
            steps = max(1, phase.steps_until(now_s))
            if steps < phase.steps:
                phase.steps = steps
                self._agenda.set_due(self._place, phase.at_s(steps))

    def settle(self, now_s: float) -> None:
        """Give the batch the tokens of the step or phase that ends now."""
        self.is_running = False
        self.ended_s = now_s
        if self.chunks:
            agenda = self._agenda
            seconds = min(now_s, agenda.busy_until_s) - max(self.started_s, agenda.busy_from_s)
            self.prefill_s += max(0.0, seconds)
        batch, phase = self._batch, self.phase
        if not batch.members:
            return
        if phase is None:
            steps = 1
            first_s = last_s = now_s - self.started_s
        else:
            steps = phase.steps
            first_s, last_s = phase.duration_s(1), phase.duration_s(steps)
            self.phase = None
        if self._lead_s > 0.0:
            batch.note_gap(batch.step + 0.5, self._lead_s + first_s)
        if self._late:
            for sequence in self._late:
                sequence.gap_max_s = max(sequence.gap_max_s, self.started_s - sequence.token_s + first_s)
            self._late.clear()
        batch.note_gap(batch.step + steps, last_s)
        batch.advance(steps)

    def context_tokens(self, now_s: float) -> int:
        """Return the tokens that the batch holds now, those of the phase under way included."""
        batch, phase = self._batch, self.phase
        if phase is None:
            return batch.context_tokens
        return batch.context_tokens + len(batch) * min(phase.steps, phase.steps_done(now_s))

    def next_token_s(self, after_s: float) -> float:
        """Return the end of the first step that ends after a time and gives anyone a token."""
        phase = self.phase
        if not self.is_running:
            return math.inf
        if phase is None:
            return self._agenda.due_s[self._place]
        return phase.at_s(min(phase.steps, phase.steps_done(after_s) + 1))

    def report(self, after_s: float, now_s: float, out: list[Event]) -> None:
        """Append the tokens of the steps under way that ended in (after, now]."""
        if not self.is_running:
            return
        phase, batch = self.phase, self._batch
        if phase is not None:
            done = min(phase.steps, phase.steps_done(now_s))
            steps = [(phase.at_s(k), k) for k in range(phase.steps_done(after_s) + 1, done + 1)]
        else:
            due_s = self._agenda.due_s[self._place]
            steps = [(due_s, 1)] if after_s < due_s <= now_s else []
        for at_s, k in steps:
            for request_id, sequence in batch.members.items():
                if sequence.state == "decode":
                    out.append(Tokens(at_s, request_id, batch.tokens_of(sequence, batch.step + k)))
            for sequence, chunk in self.chunks:
                is_last = sequence.computed + chunk.tokens == sequence.target
                if sequence.emitted and is_last and sequence.state == "chunk":
                    out.append(Tokens(at_s, sequence.request.request_id, sequence.emitted + 1))
