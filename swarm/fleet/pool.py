"""The KV pool of one rank: who holds what of it, and the room of the tokens that its batch generates.

What decoding takes is counted at once, and taken from what is cached before anything is given back, published
or admitted. Where it matters when that is written to the tiers below, it is evicted ahead.
"""

from __future__ import annotations

from swarm.context.tree import Node
from swarm.errors import AuditError
from swarm.fleet.batch import DecodeBatch
from swarm.fleet.sequence import Sequence
from swarm.fleet.surroundings import Surroundings
from swarm.kvcache.hierarchy import Hierarchy
from swarm.kvcache.requests import Handle
from swarm.kvcache.tier import Tier

_NOWHERE = Node("a batch's growth")
AHEAD_PART = 1024
"""One block in so many of a pool may be evicted before decoding needs its room: none where it has fewer."""


class Pool:
    """The room that admitted sequences and their batch take of a rank's hierarchy."""

    def __init__(
        self, *, place: int, hierarchy: Hierarchy, batch: DecodeBatch, surroundings: Surroundings
    ) -> None:
        self.hierarchy = hierarchy
        self.rules = hierarchy.rules
        self.open: dict[int, Sequence] = {}
        """Admitted, in order: they hold KV here."""
        self.held: dict[int, Sequence] = {}
        """Computed here and not yet with the rank that decodes them."""
        self._place = place
        self._batch = batch
        self._surroundings = surroundings
        self._ahead_blocks = _ahead_blocks(hierarchy.tiers)
        """Blocks to evict at a time for decoding; None: eviction timing is unobservable."""
        self._batch_handle = Handle(_NOWHERE, 0)
        """Holds the room of tokens that the batch has generated since its members joined."""
        self._batch_blocks = 0
        """Blocks of the batch's members as far as they were taken, that room included."""

    def take(self, step: int, now_s: float) -> None:
        """Take what the batch needs to hold the tokens of `step`."""
        more = self._batch.need.blocks(step) - self._batch_blocks
        if more <= 0:
            return
        growth = self.hierarchy.grow(self._batch_handle, more * self.rules.block_tokens, now_s)
        assert growth.ok, "a phase ends, and the latest is preempted, before the pool is exceeded"
        self._batch_blocks += more
        if growth.transfers:
            self._surroundings.write(self._place, growth.transfers, now_s)

    def fits_step(self) -> bool:
        """Return whether the batch can take its next step without anybody's room."""
        batch = self._batch
        return batch.need.blocks(batch.step + 1) <= self._batch_blocks + self.hierarchy.room_blocks

    def fits_late(self, tokens: int) -> bool:
        """Return whether one more sequence of so many tokens can take the step that starts now."""
        batch, rules = self._batch, self.rules
        needed = batch.need.blocks(batch.step + 1) + rules.room_for(tokens + 1)
        return needed <= self._batch_blocks + rules.room_for(tokens) + self.hierarchy.room_blocks

    def steps_within(self, steps: int, now_s: float) -> int:
        """Return how many steps the batch can take, at least one, before its room needs a decision.

        Where others see when blocks are evicted, what the first step needs is evicted here.
        """
        batch = self._batch
        room_blocks = self._batch_blocks + self.hierarchy.room_blocks
        steps = max(1, batch.need.steps_within(batch.step, room_blocks, steps))
        if self._ahead_blocks is not None:
            self._evict_ahead(self._ahead_blocks, now_s)
            free_blocks = self._batch_blocks + self.hierarchy.tiers[0].free_blocks
            steps = max(1, batch.need.steps_within(batch.step, free_blocks, steps))
        return steps

    def add_member(self, sequence: Sequence) -> None:
        """Count a sequence that joins the batch."""
        self._batch_blocks += self.rules.room_for(sequence.computed)

    def remove_member(self, sequence: Sequence) -> None:
        """Take the room of a sequence that has left the batch out of the batch's, into its own handle."""
        tokens, handle = sequence.computed, sequence.handle
        assert handle is not None
        room = self.rules.room_for(tokens)
        if tokens > handle.tokens:
            blocks = room - self.rules.room_for(handle.tokens)
            handle.tokens = tokens
            handle.reserved += blocks
            self._batch_handle.reserved -= blocks
            self._batch_handle.tokens -= blocks * self.rules.block_tokens
        self._batch_blocks -= room

    def hold_for_decoder(self, sequence: Sequence) -> None:
        """Keep a prompt's KV until the rank that decodes it has it."""
        request_id = sequence.request.request_id
        del self.open[request_id]
        self.held[request_id] = sequence
        sequence.sender_place = self._place
        sequence.sender_handle = sequence.handle
        sequence.handle = None

    def arrived(self, sequence: Sequence) -> None:
        """Let a sequence whose prompt's KV has come wait for the next decode step."""
        assert sequence.handle is not None
        sequence.computed = sequence.target
        self.hierarchy.publish(sequence.handle, sequence.target)
        sequence.become("joining")

    def give_back(self, sequence: Sequence, now_s: float) -> None:
        """End a sequence's hold; its computed blocks stay as long as nobody needs the room."""
        handle = sequence.handle
        if handle is not None:
            has_not_come = sequence.state in ("loading", "arriving") or sequence.step_loads > 0
            self.release(handle, now_s, 0 if has_not_come else sequence.computed)
            sequence.handle = None

    def save_state(self, handle: Handle, computed_tokens: int, now_s: float) -> None:
        """Save the state after a chunk of a prompt, of a model with layers that keep one."""
        transfers = self.hierarchy.save_state(handle, computed_tokens, now_s)
        if transfers:
            self._surroundings.write(self._place, transfers, now_s)

    def release(self, handle: Handle, now_s: float, computed_tokens: int) -> None:
        """End a hold on the pool; so many of its tokens stay cached."""
        transfers = self.hierarchy.release(handle, now_s, computed_tokens)
        if transfers:
            self._surroundings.write(self._place, transfers, now_s)
        self._surroundings.watch_expiry(self._place)

    def expire(self, now_s: float) -> None:
        """Let the memories hand on what has outlived its TTL."""
        transfers = self.hierarchy.expire(now_s)
        if transfers:
            self._surroundings.write(self._place, transfers, now_s)

    def handles(self) -> list[Handle]:
        """Return every handle that holds KV here."""
        handles = [sequence.handle for sequence in self.open.values()]
        handles += [sequence.sender_handle for sequence in self.held.values()]
        return [handle for handle in handles if handle is not None] + [self._batch_handle]

    def audit(self, name: str) -> None:
        """Check the batch's sums against a loop over its members."""
        batch, rules = self._batch, self.rules
        members = batch.members.values()
        tokens = [member.computed + batch.step - member.join_step for member in members]
        handed = sum(rules.room_for(member.handle.tokens) for member in members if member.handle)
        for count, says, is_so in (
            ("context", batch.context_tokens, sum(tokens)),
            ("blocks", self._batch_blocks, handed + self._batch_handle.reserved),
            ("room", batch.need.blocks(batch.step), sum(rules.room_for(each) for each in tokens)),
        ):
            if says != is_so:
                raise AuditError(f"{name}: {count} is {is_so}, the sum says {says}")

    def _evict_ahead(self, ahead_blocks: int, now_s: float) -> None:
        """Free what the step that starts needs, and some more: a phase ends before it evicts anything."""
        hierarchy, batch = self.hierarchy, self._batch
        needed = batch.need.blocks(batch.step + 1) - self._batch_blocks
        if needed > hierarchy.tiers[0].free_blocks:
            blocks = min(max(needed, ahead_blocks), hierarchy.room_blocks)
            transfers = hierarchy.free(int(blocks), now_s)
            if transfers:
                self._surroundings.write(self._place, transfers, now_s)


def _ahead_blocks(tiers: tuple[Tier, ...]) -> int | None:
    """Return how many blocks to evict at a time for decoding; None where it does not matter when.

    It does where tiers below are shared, or take time to write: what is still on its way there does not hit.
    And where what they evict, or pin, goes by the order in which they are written.
    """
    slow = [
        tier.spec.scope not in ("rank", "replica")
        or tier.spec.write_bytes_per_s is not None
        or tier.spec.policy.eviction != "lru"
        or tier.pin_blocks > 0
        or tier.spec.write_latency_s > 0
        for tier in tiers[1:]
    ]
    capacity = tiers[0].capacity_blocks
    return capacity // AHEAD_PART if any(slow) and capacity is not None else None
