"""One replica's view of its memories: its own HBM first, then the tiers it shares, fastest first.

Order of one request: expire; look up and pin; promote; make room, demoting deepest first; insert. Bytes are
moved by the caller: operations return transfers, and what they carry arrives when the caller says so.
"""

from __future__ import annotations

import math
from bisect import bisect_left, insort
from collections.abc import Sequence

from swarm.context.tree import Node, Prompt
from swarm.kvcache.loss import NO_LOSS, Losses
from swarm.kvcache.moves import Admission, CacheRules, Growth, Handle, Match, Part, Transfer
from swarm.kvcache.prefix import PINNED, Piece, Span, Uses, spans
from swarm.kvcache.tier import TIER_ORDER, Tier

NO_TOKENS = (0,) * len(TIER_ORDER)


class Hierarchy:
    """A replica's tiers. `tiers[0]` is its own HBM; the others may be shared, and then `uses` is too.

    With `losses`, shared by the fleet, admissions say where hits were lost.
    """

    __slots__ = ("losses", "pins", "rules", "tiers", "uses")

    def __init__(
        self, *, tiers: Sequence[Tier], rules: CacheRules, uses: Uses, losses: Losses | None
    ) -> None:
        self.losses = losses
        self.tiers = tuple(tiers)
        self.rules = rules
        self.uses = uses
        self.pins: dict[Node, list[int]] = {}
        """Sorted ends of what open requests pin in each node."""

    @property
    def room_blocks(self) -> float:
        """HBM blocks that open requests could still get."""
        return self.tiers[0].room_blocks

    def lookup(self, prompt: Prompt, now_s: float) -> Match:
        """Return the longest prefix held; changes nothing."""
        limit = self.rules.hit_limit(prompt.length)
        path = spans(prompt.node, 0, limit, self.rules.block_tokens)
        blocks = [0] * len(self.tiers)
        parts: list[Part] = []
        for node, start, end in path:
            served = self._serve(node, start, end, now_s)
            position = start
            for part in served:
                if part.start != position:
                    break
                position = part.end
                blocks[part.tier] += part.end - part.start
                parts.append(part)
            if position < end:
                break
        size = self.rules.block_tokens
        return Match(
            prompt,
            now_s,
            sum(blocks) * size,
            tuple(count * size for count in blocks),
            tuple(parts),
            self._version(),
        )

    def peek(self, prompt: Prompt, now_s: float) -> int:
        """Return how many tokens of the prompt are held; changes nothing."""
        return self.lookup(prompt, now_s).tokens

    def expire(self, now_s: float) -> list[Transfer]:
        """Let every tier go of what has outlived its TTL; what a lower tier keeps longer moves there."""
        transfers: list[Transfer] = []
        for index, tier in enumerate(self.tiers):
            if tier.spec.ttl_s is not None:
                self._demote(index, tier.expire(now_s), now_s, transfers)
        return transfers

    def admit(
        self, match: Match, now_s: float, *, use_tokens: int | None, ideal_tokens: int | None
    ) -> Admission:
        """Pin the match and reserve room for the rest of its prompt.

        `use_tokens` below the match's leaves the rest of it to be computed again. A match that is no
        longer current is looked up again. With `ideal_tokens` the loss against it is explained.
        """
        prompt = match.prompt
        if match.at_s != now_s or match.version != self._version():
            match = self.lookup(prompt, now_s)
        transfers = self.expire(now_s)
        size = self.rules.block_tokens
        hbm = self.tiers[0]
        used = match.tokens // size if use_tokens is None else min(use_tokens, match.tokens) // size
        hit = min(used, match.by_tier[0] // size)
        room = self.rules.room_for(prompt.length)
        capacity = hbm.spec.capacity_blocks
        if capacity is not None and room > capacity:
            return Admission("too_large", None, match, 0, 0, NO_TOKENS, NO_LOSS, transfers)
        path = spans(prompt.node, 0, hit, size)
        if room - hit > hbm.room_blocks - self._unpinned(path):
            return Admission("wait", None, match, 0, 0, NO_TOKENS, NO_LOSS, transfers)
        ideal = max(ideal_tokens or 0, used * size)
        lost_to = NO_LOSS
        if ideal_tokens is not None and self.losses is not None:
            ideal = max(ideal, match.tokens)
            lost_to = self.losses.split(
                prompt,
                self.tiers,
                ideal,
                self.rules.hit_limit(prompt.length),
                match.tokens,
                used * size,
                now_s,
            )
        handle = Handle(prompt.node, prompt.length)
        self._pin(handle, path)
        handle.visible = hit
        if self.losses is not None:
            self.losses.use(prompt.node, prompt.length // size, math.inf)
        hbm.counters.hit_blocks += hit
        if used > hit:
            self._promote(handle, match, hit, used, now_s, transfers)
        self._demote(0, hbm.make_room(room - hit), now_s, transfers)
        handle.reserved = room - hit
        hbm.reserved += handle.reserved
        return Admission(
            "admitted", handle, match, used * size, ideal, self._by_name(match, used), lost_to, transfers
        )

    def publish(self, handle: Handle, computed_tokens: int) -> None:
        """Let others hit the whole blocks among the request's first `computed_tokens` tokens."""
        end = min(computed_tokens, handle.tokens) // self.rules.block_tokens
        if end <= handle.visible:
            return
        hbm = self.tiers[0]
        inserted = 0
        for node, start, stop in spans(handle.node, handle.visible, end, self.rules.block_tokens):
            inserted += hbm.runs.paint(node, start, stop, PINNED, fill=True)
            self._pin_end(handle, node, stop)
        if self.losses is not None:
            self.losses.publish(handle.node, handle.visible, end)
        hbm.counters.inserted_blocks += inserted
        hbm.reserved -= end - handle.visible
        handle.reserved -= end - handle.visible
        handle.visible = end

    def grow(self, handle: Handle, tokens: int, now_s: float) -> Growth:
        """Make room for `tokens` more tokens at the end of the request's own node."""
        more = self.rules.room_for(handle.tokens + tokens) - self.rules.room_for(handle.tokens)
        transfers: list[Transfer] = []
        hbm = self.tiers[0]
        if more > 0:
            if more > hbm.room_blocks:
                return Growth(False, transfers)
            self._demote(0, hbm.make_room(more), now_s, transfers)
            hbm.reserved += more
            handle.reserved += more
        handle.tokens += tokens
        return Growth(True, transfers)

    def release(self, handle: Handle, now_s: float, computed_tokens: int) -> list[Transfer]:
        """End the request: its whole computed blocks stay, last used now; its room is given back."""
        self.publish(handle, computed_tokens)
        hbm = self.tiers[0]
        use = self.uses.new(now_s, handle.node)
        for node, end in handle.pins:
            kept = self._unpin_end(node, end)
            if kept < end:
                hbm.runs.paint(node, kept, end, use, fill=False)
        if self.losses is not None:
            self.losses.use(handle.node, handle.visible, now_s)
        hbm.reserved -= handle.reserved
        handle.reserved = 0
        handle.is_open = False
        transfers: list[Transfer] = []
        for index in range(1, len(self.tiers)):
            if self.tiers[index].spec.inclusive:
                path = spans(handle.node, 0, handle.visible, self.rules.block_tokens)
                self._offer(index, [(*span, use) for span in path], transfers)
        return transfers

    def abort(self, handle: Handle, now_s: float) -> list[Transfer]:
        """End or preempt the request with what it has published so far."""
        return self.release(handle, now_s, 0)

    def land(self, transfer: Transfer, now_s: float) -> list[Transfer]:
        """A transfer has arrived: a read is visible in HBM, a write is held by its tier."""
        assert not transfer.is_settled
        transfer.is_settled = True
        if transfer.direction == "read":
            handle = transfer.handle
            assert handle is not None
            handle.loads -= 1
            if handle.is_open and not handle.loads:
                self.publish(handle, handle.loads_end * self.rules.block_tokens)
            return []
        if self.losses is not None:
            self.losses.settle(transfer.pieces, dropped=False)
        tier = transfer.tier
        tier.counters.landed_blocks += transfer.blocks
        tier.counters.written_bytes += transfer.bytes
        for node, start, end, use in transfer.pieces:
            tier.counters.inserted_blocks += tier.runs.paint(node, start, end, use, fill=True)
        transfers: list[Transfer] = []
        self._demote(transfer.tier_index, tier.expire(now_s), now_s, transfers)
        self._demote(transfer.tier_index, tier.make_room(0), now_s, transfers)
        return transfers

    def drop(self, transfer: Transfer) -> None:
        """A write that its tier could not take: its blocks are lost."""
        assert transfer.direction == "write" and not transfer.is_settled
        transfer.is_settled = True
        if self.losses is not None:
            self.losses.settle(transfer.pieces, dropped=True)
        transfer.tier.counters.dropped_blocks += transfer.blocks
        transfer.tier.counters.dropped_bytes += transfer.bytes

    def block(self, transfer: Transfer) -> None:
        """Count a write that its tier lets wait."""
        transfer.tier.counters.blocked_writes += 1

    def _version(self) -> int:
        return sum(tier.runs.version for tier in self.tiers)

    def _by_name(self, match: Match, used: int) -> tuple[int, ...]:
        """Return the tokens of the first `used` blocks by tier, in the order of `TIER_ORDER`."""
        tokens = [0] * len(TIER_ORDER)
        for part in match.parts:
            if part.start >= used:
                break
            place = TIER_ORDER.index(self.tiers[part.tier].spec.name)
            tokens[place] += (min(part.end, used) - part.start) * self.rules.block_tokens
        return tuple(tokens)

    def _serve(self, node: Node, start: int, end: int, now_s: float) -> list[Part]:
        """Return who serves which blocks of [start, end): for each the first tier that holds it."""
        gaps = [(start, end)]
        parts: list[Part] = []
        for index, tier in enumerate(self.tiers):
            since_s = tier.alive_since_s(now_s)
            left: list[tuple[int, int]] = []
            for low, high in gaps:
                for covered_start, covered_end in tier.runs.covered(node, low, high, since_s):
                    parts.append(Part(index, node, covered_start, covered_end))
                    if covered_start > low:
                        left.append((low, covered_start))
                    low = covered_end
                if low < high:
                    left.append((low, high))
            gaps = left
            if not gaps:
                break
        parts.sort(key=lambda part: part.start)
        return parts

    def _promote(
        self, handle: Handle, match: Match, hit: int, used: int, now_s: float, transfers: list[Transfer]
    ) -> None:
        """Read blocks [hit, used) from below; reading is a use of a copy that stays."""
        blocks = [0] * len(self.tiers)
        use = self.uses.new(now_s, handle.node)
        for part in match.parts:
            end = min(part.end, used)
            if part.tier == 0 or part.start >= end:
                continue
            tier = self.tiers[part.tier]
            blocks[part.tier] += end - part.start
            if tier.spec.inclusive:
                tier.runs.paint(part.node, part.start, end, use, fill=False)
            else:
                tier.promote_away(part.node, part.start, end)
        for index, count in enumerate(blocks):
            if count:
                tier = self.tiers[index]
                bytes_count = count * self.rules.block_bytes
                tier.counters.hit_blocks += count
                tier.counters.read_bytes += bytes_count
                transfers.append(Transfer(tier, index, "read", count, bytes_count, [], handle))
                handle.loads += 1
        handle.loads_end = used

    def _demote(self, index: int, pieces: list[Piece], now_s: float, transfers: list[Transfer]) -> None:
        """Offer what left tier `index` to the first tier below that would still hold it at its age."""
        if not pieces:
            return
        for below in range(index + 1, len(self.tiers)):
            since_s = self.tiers[below].alive_since_s(now_s)
            self._offer(below, [piece for piece in pieces if piece[3].at_s >= since_s], transfers)
            pieces = [piece for piece in pieces if piece[3].at_s < since_s]

    def _offer(self, index: int, pieces: list[Piece], transfers: list[Transfer]) -> None:
        """Let a tier note the use of what it holds of `pieces`, and be written the rest."""
        tier = self.tiers[index]
        writes: list[Piece] = []
        blocks = 0
        for node, start, end, use in pieces:
            tier.runs.paint(node, start, end, use, fill=False)
            for low, high in tier.runs.missing(node, start, end):
                writes.append((node, low, high, use))
                blocks += high - low
        if blocks:
            if self.losses is not None:
                self.losses.move(writes)
            tier.counters.offered_blocks += blocks
            bytes_count = blocks * self.rules.block_bytes
            transfers.append(Transfer(tier, index, "write", blocks, bytes_count, writes, None))

    def _unpinned(self, path: list[Span]) -> int:
        """Return how many blocks of a held path nobody is using."""
        count = 0
        for node, start, end in path:
            ends = self.pins.get(node)
            pinned = ends[-1] if ends else start
            if pinned < end:
                count += end - pinned
        return count

    def _pin(self, handle: Handle, path: list[Span]) -> None:
        runs = self.tiers[0].runs
        for node, start, end in path:
            runs.paint(node, start, end, PINNED, fill=False)
            self._pin_end(handle, node, end)

    def _pin_end(self, handle: Handle, node: Node, end: int) -> None:
        """Move the request's pin of `node`, the deepest of its path so far, to `end`."""
        if handle.pins and handle.pins[-1][0] is node:
            self._unpin_end(node, handle.pins.pop()[1])
        handle.pins.append((node, end))
        ends = self.pins.get(node)
        if ends is None:
            self.pins[node] = [end]
        else:
            insort(ends, end)

    def _unpin_end(self, node: Node, end: int) -> int:
        """Take one pin off a node; return where the blocks pinned by others end."""
        ends = self.pins[node]
        del ends[bisect_left(ends, end)]
        if ends:
            return ends[-1]
        del self.pins[node]
        return node.start // self.rules.block_tokens
