"""The sequences that one rank decodes: each gets one token a step, so sums stand in for a loop over them."""

from __future__ import annotations

from heapq import heappop, heappush

from swarm.fleet.block_need import BlockNeed
from swarm.fleet.phase import PEAKS_SLACK, Peaks
from swarm.fleet.sequence import Sequence


class DecodeBatch:
    """Decoding sequences, by the step at which they finish."""

    __slots__ = (
        "_block_tokens",
        "_finish",
        "_joins_count",
        "context_tokens",
        "members",
        "need",
        "peaks",
        "step",
    )

    def __init__(self, block_tokens: int) -> None:
        self._block_tokens = block_tokens
        self.step = 0
        """Steps done since the start, whoever was in them."""
        self.members: dict[int, Sequence] = {}
        """By request, in the order of joining."""
        self.context_tokens = 0
        """Tokens held by all, before the next step."""
        self.need = BlockNeed(block_tokens)
        self.peaks = Peaks()
        self._finish: list[tuple[int, int, Sequence]] = []
        self._joins_count = 0

    def __len__(self) -> int:
        return len(self.members)

    def join(self, sequence: Sequence, peaks_from: float) -> None:
        """Let a sequence that has its first token take part in the next step."""
        self._joins_count += 1
        sequence.become("decode")
        sequence.join_step = self.step
        sequence.join_order = self._joins_count
        sequence.peaks_from = peaks_from
        self.members[sequence.request.request_id] = sequence
        self.context_tokens += sequence.computed
        self.need.add(sequence.computed, self.step)
        finish_step = self.step + sequence.output_tokens - sequence.emitted
        heappush(self._finish, (finish_step, self._joins_count, sequence))

    def leave(self, sequence: Sequence) -> None:
        """Take a sequence out, with the tokens that it has by now."""
        del self.members[sequence.request.request_id]
        sequence.join_order = 0
        steps = self.step - sequence.join_step
        sequence.computed += steps
        sequence.emitted += steps
        sequence.gap_max_s = max(sequence.gap_max_s, self.peaks.since(sequence.peaks_from))
        self.context_tokens -= sequence.computed
        self.need.remove(sequence.computed, self.step)
        if not self.members:
            self.peaks.clear()

    def advance(self, steps: int) -> None:
        """Give each sequence `steps` tokens."""
        self.step += steps
        self.context_tokens += steps * len(self.members)

    def steps_left(self) -> int:
        """Return how many steps there are until a sequence finishes."""
        self._drop_stale()
        return self._finish[0][0] - self.step

    def pop_finished(self) -> Sequence | None:
        """Take out a sequence that has all its tokens, in the order of joining."""
        self._drop_stale()
        if not self._finish or self._finish[0][0] > self.step:
            return None
        sequence = heappop(self._finish)[2]
        self.leave(sequence)
        return sequence

    def note_gap(self, step: float, gap_s: float) -> None:
        """Note the longest gap between tokens up to a step."""
        peaks = self.peaks
        peaks.push(step, gap_s)
        if len(peaks.steps) > 2 * len(self.members) + PEAKS_SLACK:
            peaks.thin([member.peaks_from for member in self.members.values()])

    def tokens_of(self, sequence: Sequence, step: int) -> int:
        """Return the output tokens that a member has at a step."""
        return sequence.emitted + step - sequence.join_step

    def _drop_stale(self) -> None:
        """Forget entries of sequences that have left, or left and joined again.

        A sequence joins no other batch than its rank's, so its order of joining is of this one.
        """
        finish = self._finish
        while finish:
            _, order, sequence = finish[0]
            if sequence.join_order == order:
                return
            heappop(finish)
