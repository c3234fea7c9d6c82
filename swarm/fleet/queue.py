"""Who waits at one rank, and how they are admitted to its pool: first come, first served."""

from __future__ import annotations

from collections import OrderedDict

from swarm.fleet.batch import DecodeBatch
from swarm.fleet.events import CacheUse
from swarm.fleet.pool import Pool
from swarm.fleet.sequence import Sequence
from swarm.fleet.surroundings import Surroundings
from swarm.kvcache.requests import Admission


class Queue:
    """The sequences before a rank's pool."""

    def __init__(
        self, *, place: int, pool: Pool, batch: DecodeBatch, surroundings: Surroundings, max_sequences: int
    ) -> None:
        self.entering: dict[int, Sequence] = {}
        """Requests on their way to the queue, by id."""
        self.waiting: OrderedDict[int, Sequence] = OrderedDict()
        self.is_blocked = False
        """The first did not fit when last tried, and nothing has been given back since."""
        self.backlog_tokens = 0
        """Prompt tokens to compute for those here or on their way; before admission what is not held."""
        self.lacking_tokens = 0
        """Tokens of KV that those waiting or on their way need beyond what lay in HBM as they came."""
        self.unanswered_tokens = 0
        """Prompt tokens to compute for those here without a first token, as their router believed."""
        self._announced_tokens = 0
        """The same of the request that comes next."""
        self.query_tokens = 0
        """Prompt tokens admitted since the start."""
        self.hit_tokens = 0
        """Of those, held as they came."""
        self._place = place
        self._pool = pool
        self._batch = batch
        self._surroundings = surroundings
        self._max_sequences = max_sequences

    def announce(self, tokens: int) -> None:
        """Hear from the router that the next request has so many prompt tokens to compute here."""
        self._announced_tokens = tokens

    def answer(self, sequence: Sequence) -> None:
        """Let go of what the router announced: the sequence has its first token, or gets none."""
        self.unanswered_tokens -= sequence.announced_tokens
        sequence.announced_tokens = 0

    def await_entry(self, sequence: Sequence, now_s: float) -> None:
        """Count a sequence that is on its way: the router must see it."""
        self._take_announced(sequence)
        self.entering[sequence.request.request_id] = sequence
        match = self._pool.hierarchy.lookup(sequence.context(), now_s)
        self.expect(sequence, sequence.target - match.tokens)
        self.lack(sequence, sequence.target - match.by_tier[0])

    def end_entry(self, sequence: Sequence) -> None:
        """Let go of a sequence that has come, or comes no more."""
        del self.entering[sequence.request.request_id]
        self.expect(sequence, 0)
        self.lack(sequence, 0)

    def add(self, sequence: Sequence, now_s: float) -> None:
        """Take a sequence as the last."""
        self._take_announced(sequence)
        sequence.place = self._place
        sequence.become("waiting")
        match = self._pool.hierarchy.lookup(sequence.context(), now_s)
        if sequence.sender_place is None:
            self.expect(sequence, sequence.target - match.tokens)
        self.lack(sequence, sequence.target - match.by_tier[0])
        self.waiting[sequence.request.request_id] = sequence

    def add_first(self, sequence: Sequence) -> None:
        """Take a preempted sequence as the first, with all its tokens to be computed or sent again."""
        if sequence.sender_place is None:
            sequence.target = sequence.request.prompt.length + sequence.emitted
            self.expect(sequence, sequence.target)
        sequence.computed = 0
        self.lack(sequence, sequence.target)
        sequence.become("waiting")
        request_id = sequence.request.request_id
        self.waiting[request_id] = sequence
        self.waiting.move_to_end(request_id, last=False)

    def expect(self, sequence: Sequence, tokens: int) -> None:
        """Set what is to be computed for a sequence."""
        self.backlog_tokens += tokens - sequence.backlog_tokens
        sequence.backlog_tokens = tokens

    def lack(self, sequence: Sequence, tokens: int) -> None:
        """Set what KV a sequence that is not admitted needs beyond what lies in HBM."""
        self.lacking_tokens += tokens - sequence.lacking_tokens
        sequence.lacking_tokens = tokens

    def can_admit(self) -> bool:
        """Return whether it is worth while to try."""
        return bool(self.waiting) and not self.is_blocked and len(self._pool.open) < self._max_sequences

    def admit_next(self, now_s: float) -> Sequence | None:
        """Admit the first; None if nobody waits or there is no room.

        It is then pending or joining, or its KV is on the way: loading or arriving.
        """
        pool, around = self._pool, self._surroundings
        if not self.waiting or len(pool.open) >= self._max_sequences:
            return None
        pool.take(self._batch.step + 1, now_s)
        request_id, sequence = next(iter(self.waiting.items()))
        hierarchy = pool.hierarchy
        match = hierarchy.lookup(sequence.context(), now_s)
        comes_with_kv = sequence.sender_place is not None
        use_tokens = match.by_tier[0] if comes_with_kv else around.use_tokens(self._place, match, now_s)
        is_first = not sequence.cache.by_tier
        ideal_tokens = sequence.cache.ideal_tokens if is_first else None
        admission = hierarchy.admit(match, now_s, use_tokens=use_tokens, ideal_tokens=ideal_tokens)
        writes = [transfer for transfer in admission.transfers if transfer.direction == "write"]
        if writes:
            around.write(self._place, writes, now_s)
        if admission.handle is None:
            assert admission.outcome == "wait", "what fits no pool is refused at the door"
            self.is_blocked = True
            return None
        self.is_blocked = False
        del self.waiting[request_id]
        self.lack(sequence, 0)
        pool.open[request_id] = sequence
        sequence.handle = admission.handle
        if sequence.request.keep_s:
            admission.handle.keep_blocks = sequence.request.keep_tokens // hierarchy.rules.block_tokens
            admission.handle.keep_s = sequence.request.keep_s
        sequence.computed = admission.used_tokens
        if not comes_with_kv:
            self._load(sequence, admission, is_first, now_s)
        elif around.receive(self._place, sequence, sequence.target - admission.used_tokens, now_s):
            sequence.become("arriving")
        else:
            pool.arrived(sequence)
        return sequence

    def _take_announced(self, sequence: Sequence) -> None:
        tokens = self._announced_tokens
        if tokens:
            self._announced_tokens = 0
            self.unanswered_tokens += tokens
            sequence.announced_tokens += tokens

    def _load(self, sequence: Sequence, admission: Admission, is_first: bool, now_s: float) -> None:
        """Count what an admitted sequence hits, and start to read what lower tiers hold of it."""
        self.expect(sequence, sequence.target - admission.used_tokens)
        self.query_tokens += sequence.target
        self.hit_tokens += admission.used_tokens
        if is_first:
            sequence.admitted_s = now_s
            counts = (sequence.target, admission.used_tokens, admission.ideal_tokens)
            sequence.cache = tuple.__new__(CacheUse, (*counts, admission.used_by_tier, admission.lost_to))
        for transfer in admission.transfers:
            if transfer.direction == "read":
                self._surroundings.read(self._place, transfer, sequence, now_s)
        sequence.become("loading" if sequence.loads else "pending")
