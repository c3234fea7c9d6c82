"""How sequences leave a rank: with their first token, with all their tokens, or given up."""

from __future__ import annotations

from swarm.fleet.agenda import Agenda
from swarm.fleet.events import Finished, FirstToken
from swarm.fleet.pool import Pool
from swarm.fleet.queue import Queue
from swarm.fleet.sequence import Sequence
from swarm.fleet.surroundings import Surroundings


class Departures:
    """Tells what a rank's sequences have come to, and gives back what they held."""

    def __init__(
        self, *, replica: int, agenda: Agenda, surroundings: Surroundings, pool: Pool, queue: Queue
    ) -> None:
        self.finished = 0
        self._replica = replica
        self._agenda = agenda
        self._surroundings = surroundings
        self._pool = pool
        self._queue = queue

    def emit(self, sequence: Sequence, now_s: float) -> None:
        """Give the token that a prompt's last chunk makes: the first one, or the next after a preemption."""
        if sequence.emitted == 0:
            sequence.first_s = now_s
            if sequence.announced_tokens:
                self._queue.answer(sequence)
            request_id = sequence.request.request_id
            cache, replica = sequence.cache, self._replica
            self._agenda.events.append(tuple.__new__(FirstToken, (now_s, request_id, cache, replica)))
        else:
            sequence.gap_max_s = max(sequence.gap_max_s, now_s - sequence.token_s)
        sequence.emitted += 1
        sequence.token_s = now_s

    def send(self, sequence: Sequence, now_s: float) -> None:
        """Keep a prompt's KV until the rank that decodes it has it."""
        self._pool.hold_for_decoder(sequence)
        self._surroundings.hand_over(sequence, now_s)

    def finish(self, sequence: Sequence, now_s: float) -> None:
        """Tell that a sequence has all its tokens, and let it go."""
        self.finished += 1
        gaps = sequence.output_tokens - 1
        mean_s = (now_s - sequence.first_s) / gaps if gaps else 0.0
        request = sequence.request
        told = (now_s, request.request_id, sequence.output_tokens, mean_s, sequence.gap_max_s)
        self._agenda.events.append(tuple.__new__(Finished, told))
        losses = self._pool.hierarchy.losses
        if losses is not None and request.echo:
            losses.ideal.output(request.prompt, sequence.output_tokens)
        self.let_go(sequence, now_s)

    def let_go(self, sequence: Sequence, now_s: float) -> None:
        """Give back what a sequence holds, and forget it."""
        request_id = sequence.request.request_id
        self._queue.expect(sequence, 0)
        self._queue.lack(sequence, 0)
        self._queue.answer(sequence)
        self._pool.open.pop(request_id, None)
        self._pool.give_back(sequence, now_s)
        sequence.become("ended")
        self._surroundings.let_sender_go(sequence, now_s)
        del self._agenda.sequences[request_id]
