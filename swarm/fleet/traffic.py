"""What moves between memories, and when it is better not to: reads, writes and prompts' KV."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field
from functools import partial

from swarm.fleet.agenda import Agenda
from swarm.fleet.rank import Rank
from swarm.fleet.routing.router import Router
from swarm.fleet.sequence import Sequence
from swarm.fleet.surroundings import Surroundings
from swarm.fleet.transfers.network import Arrived, Lane, Network
from swarm.kvcache.match import Match
from swarm.kvcache.requests import Handle, Transfer
from swarm.kvcache.tier import Tier


@dataclass(slots=True)
class WriteQueue:
    """What waits to be written to one tier, or is being written; `limit_bytes` bounds it."""

    limit_bytes: float
    bytes_count: float = field(init=False, default=0.0)
    blocked: deque[tuple[Rank, Transfer]] = field(init=False, default_factory=deque)
    """Writes beyond the limit that stall their ranks; bounded, as a stalled rank starts nothing."""

    def takes(self, bytes_count: float) -> bool:
        """Return whether so much more may wait; an empty queue takes anything."""
        return self.bytes_count == 0 or self.bytes_count + bytes_count <= self.limit_bytes


@dataclass(frozen=True, slots=True)
class Reach:
    """A rank's lanes to the tiers of its hierarchy, None for its own HBM, and what copies do to its steps."""

    reads: tuple[Lane | None, ...]
    writes: tuple[Lane | None, ...]
    waits: tuple[bool, ...]
    """By tier: the step that admits a request waits for its load, and not only the request."""
    by_layer: tuple[bool, ...]
    """By tier: such a step computes each layer when its KV is there."""
    slowdowns: tuple[float, ...]
    """By tier: share that copies add to a step."""
    layers: int


class Traffic(Surroundings):
    """Starts transfers for ranks, and tells them and their caches when something has arrived."""

    def __init__(
        self,
        *,
        network: Network,
        reaches: list[Reach],
        kv_lanes: dict[tuple[int, int], Lane],
        decode_router: Router,
        kv_bytes_per_token: float,
        recomputes_when_faster: bool,
        agenda: Agenda,
    ) -> None:
        self.network = network
        self._agenda = agenda
        self._ranks: list[Rank] = []
        """By place."""
        self._decoders: list[Rank] = []
        """Ranks that decode what others have prefilled."""
        self._decode_router = decode_router
        self._reaches = reaches
        """By place."""
        self._kv_lanes = kv_lanes
        """By the replicas of the sender and the receiver."""
        self._kv_bytes_per_token = kv_bytes_per_token
        self._recomputes_when_faster = recomputes_when_faster
        self._queues: dict[Tier, WriteQueue] = {}
        self._watched_s: list[float] = []
        """By place, when a rank's memories are next looked at for what has outlived its TTL."""

    def add_rank(self, rank: Rank, *, decodes_only: bool) -> None:
        """Serve one more rank, the next by place."""
        assert rank.place == len(self._ranks)
        self._ranks.append(rank)
        self._watched_s.append(math.inf)
        if decodes_only:
            self._decoders.append(rank)

    def close(self) -> None:
        """Forget the ranks, and what is under way to them."""
        self._ranks.clear()
        self._decoders.clear()
        self._queues.clear()
        self.network.close()

    def run(self, now_s: float) -> None:
        """Let what is due arrive."""
        self.network.run(now_s)
        self._agenda.network_s = self.network.next_s()

    def enter(self, rank: Rank, sequence: Sequence, seconds: float, now_s: float) -> None:
        """Bring a request to its rank's queue after a time, unless it is given up before."""
        assert sequence.state == "entering"
        sequence.place = rank.place
        rank.queue.await_entry(sequence, now_s)
        self.network.after(seconds, now_s, partial(self._entered, rank, sequence))
        self._agenda.network_s = self.network.next_s()

    def read(self, place: int, transfer: Transfer, sequence: Sequence, now_s: float) -> None:
        """Start a read, and count it with its sequence until it has landed."""
        rank, reach, index = self._ranks[place], self._reaches[place], transfer.tier_index
        slowdown = reach.slowdowns[index]
        landed: Arrived
        if slowdown:
            landed = partial(self._read, rank, sequence, transfer, slowdown)
        else:
            landed = partial(rank.landed, sequence, transfer)
        if self._start(reach.reads[index], transfer.bytes, now_s, landed):
            if slowdown:
                rank.copying(slowdown, 1, now_s)
            if reach.waits[index]:
                layers = reach.layers if reach.by_layer[index] else 0
                sequence.loads_by_layer = (
                    min(layers, sequence.loads_by_layer) if sequence.step_loads else layers
                )
                sequence.load_s = now_s
                sequence.step_loads += 1
            else:
                sequence.loads += 1
            return
        rank.hierarchy.land(transfer, now_s)

    def holds_steps(self, place: int, tier_index: int) -> bool:
        """Return whether steps wait for reads from a tier, and not only the requests that are read for."""
        return self._reaches[place].waits[tier_index]

    def write(self, place: int, transfers: list[Transfer], now_s: float) -> None:
        """Start writes, as far as their tiers take them."""
        rank = self._ranks[place]
        for transfer in transfers:
            queue = self._queues.get(transfer.tier)
            if queue is None:
                queue = self._queues[transfer.tier] = WriteQueue(transfer.tier.spec.write_queue_bytes)
            if not queue.blocked and queue.takes(transfer.bytes):
                self._write(rank, transfer, queue, now_s)
            elif transfer.tier.spec.write_policy == "drop":
                rank.hierarchy.drop(transfer)
            else:
                rank.hierarchy.block(transfer)
                rank.stall(now_s)
                queue.blocked.append((rank, transfer))

    def watch_expiry(self, place: int) -> None:
        """See to it that blocks move on when they outlive a tier's TTL, though nobody asks for them then."""
        due_s = self._ranks[place].hierarchy.next_expiry_s()
        if due_s < self._watched_s[place]:
            self._watched_s[place] = due_s
            self.network.at(due_s, partial(self._expired, place))
            self._agenda.network_s = self.network.next_s()

    def hand_over(self, sequence: Sequence, now_s: float) -> None:
        """Find the rank that decodes a sequence whose prompt is computed."""
        session, sender = sequence.request.session, sequence.sender_place
        rank = self._decode_router.pick(self._decoders, session, sequence.context(), sender, now_s)
        rank.submit(sequence, now_s)

    def receive(self, place: int, sequence: Sequence, tokens: int, now_s: float) -> bool:
        """Start the move of a prompt's KV to a decode rank; False where it has arrived at once."""
        assert sequence.sender_place is not None and sequence.handle is not None
        sender, rank = self._ranks[sequence.sender_place], self._ranks[place]
        lane = self._kv_lanes[sender.replica, rank.replica]
        received = partial(self._kv_received, rank, sequence, sequence.handle)
        if self._start(lane, tokens * self._kv_bytes_per_token, now_s, received):
            return True
        self.let_sender_go(sequence, now_s)
        return False

    def use_tokens(self, place: int, match: Match, now_s: float) -> int | None:
        """Return how much of a match to use, the rest being faster to compute; None for all of it."""
        if match.by_tier[0] == match.tokens or not self._recomputes_when_faster:
            return None
        return self._best(place, match)[0]

    def prompt_s(self, place: int, match: Match, now_s: float) -> float:
        """Return about how long a rank takes to load what it will of a match, and to compute the rest."""
        if match.by_tier[0] == match.tokens:
            return self._ranks[place].cost.prefill_s(match.tokens, match.prompt.length - match.tokens)
        return self._best(place, match)[1]

    def receive_s(self, place: int, sender: int, tokens: int, now_s: float) -> float:
        """Return about how long the KV of so many tokens takes from one rank to another."""
        lane = self._kv_lanes[self._ranks[sender].replica, self._ranks[place].replica]
        return lane.estimate_s(tokens * self._kv_bytes_per_token)

    def _best(self, place: int, match: Match) -> tuple[int, float]:
        """Return how much of a match to use, and the seconds until its prompt is computed."""
        rank, reach = self._ranks[place], self._reaches[place]
        rules, cost, by_tier, length = rank.hierarchy.rules, rank.cost, match.by_tier, match.prompt.length
        is_free = self._recomputes_when_faster
        best = by_tier[0]
        least_s = cost.prefill_s(best, length - best)
        blocks = [0] * len(reach.reads)
        # Loads from several tiers run at once, and each grows with its blocks: the longest only grows.
        load_s = 0.0
        for part in match.parts:
            tier = part.tier
            if tier == 0:
                continue
            blocks[tier] += part.end - part.start
            end = part.end * rules.block_tokens
            lane = reach.reads[tier]
            if lane is not None:
                load_s = max(load_s, lane.estimate_s(blocks[tier] * rules.block_bytes))
            compute_s = cost.prefill_s(end, length - end)
            total_s = load_s + compute_s
            if reach.by_layer[tier]:
                total_s = max(load_s + compute_s / reach.layers, load_s / reach.layers + compute_s)
            if total_s < least_s or not is_free:
                least_s, best = total_s, end
        return best, least_s

    def let_sender_go(self, sequence: Sequence, now_s: float) -> None:
        """The prefill rank of a sequence need not hold its KV any longer."""
        place, handle = sequence.sender_place, sequence.sender_handle
        if place is not None and handle is not None:
            sequence.sender_place = sequence.sender_handle = None
            self._ranks[place].sent(sequence, handle, now_s)

    def _start(self, lane: Lane | None, bytes_count: float, now_s: float, arrived: Arrived) -> bool:
        assert lane is not None, "nothing is moved from or to HBM itself"
        started = self.network.start(lane, bytes_count, now_s, arrived)
        if started:
            self._agenda.network_s = self.network.next_s()
        return started

    def _entered(self, rank: Rank, sequence: Sequence, now_s: float) -> None:
        if sequence.state == "entering":
            rank.queue.end_entry(sequence)
            rank.submit(sequence, now_s)

    def _kv_received(self, rank: Rank, sequence: Sequence, handle: Handle, now_s: float) -> None:
        if sequence.handle is handle:
            self.let_sender_go(sequence, now_s)
            rank.received(sequence, now_s)

    def _write(self, rank: Rank, transfer: Transfer, queue: WriteQueue, now_s: float) -> None:
        queue.bytes_count += transfer.bytes
        reach, index = self._reaches[rank.place], transfer.tier_index
        slowdown = reach.slowdowns[index]
        if slowdown:
            rank.copying(slowdown, 1, now_s)
        landed = partial(self._written, rank, transfer, queue)
        if not self._start(reach.writes[index], transfer.bytes, now_s, landed):
            self._written(rank, transfer, queue, now_s)

    def _expired(self, place: int, now_s: float) -> None:
        if self._watched_s[place] == now_s:
            self._watched_s[place] = math.inf
            self._ranks[place].expire(now_s)
            self.watch_expiry(place)

    def _read(
        self, rank: Rank, sequence: Sequence, transfer: Transfer, slowdown: float, now_s: float
    ) -> None:
        rank.copying(slowdown, -1, now_s)
        rank.landed(sequence, transfer, now_s)

    def _written(self, rank: Rank, transfer: Transfer, queue: WriteQueue, now_s: float) -> None:
        queue.bytes_count -= transfer.bytes
        slowdown = self._reaches[rank.place].slowdowns[transfer.tier_index]
        if slowdown:
            rank.copying(slowdown, -1, now_s)
        demoted = rank.hierarchy.land(transfer, now_s)
        if demoted:
            self.write(rank.place, demoted, now_s)
        self.watch_expiry(rank.place)
        while queue.blocked and queue.takes(queue.blocked[0][1].bytes):
            waiting_rank, waiting = queue.blocked.popleft()
            self._write(waiting_rank, waiting, queue, now_s)
            waiting_rank.unstall(now_s)
