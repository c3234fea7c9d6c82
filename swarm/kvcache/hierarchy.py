"""One replica's view of its memories: its own HBM first, then the tiers it shares, fastest first.

Order of one request: expire; look up and pin; promote; make room, demoting deepest first; insert. Bytes are
moved by the caller: operations return transfers, and what they carry arrives when the caller says so.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from swarm.context.tree import Node, Prompt
from swarm.hit_names import TIERS
from swarm.kvcache.blocks import PERMANENT, PINNED, Piece, Use, Uses, spans
from swarm.kvcache.loss import NO_LOSS, Losses
from swarm.kvcache.match import Match, Part, cut_parts, hbm_reach, lower_parts
from swarm.kvcache.permanent import Permanent
from swarm.kvcache.pins import Pins
from swarm.kvcache.requests import Admission, Growth, Handle, Transfer
from swarm.kvcache.rules import CacheRules
from swarm.kvcache.runs import INFINITE
from swarm.kvcache.states import StateRules, StateTier
from swarm.kvcache.tier import Tier
from swarm.kvcache.use_counts import UseCounts

NO_TOKENS = (0,) * len(TIERS)


class Hierarchy:
    """A replica's tiers. `tiers[0]` is its own HBM; the others may be shared, and then `uses` is too.

    With `losses`, shared by the fleet, admissions say where hits were lost.
    """

    __slots__ = (
        "_expires",
        "_handing_on",
        "_kept_s",
        "_limit_less",
        "_looked",
        "_permanent",
        "_places",
        "_selective",
        "_size",
        "_state_rules",
        "_states",
        "_written_through",
        "losses",
        "pins",
        "rules",
        "tiers",
        "uses",
    )

    def __init__(
        self,
        *,
        tiers: Sequence[Tier],
        rules: CacheRules,
        uses: Uses,
        losses: Losses | None,
        states: StateRules | None,
    ) -> None:
        self.tiers = tuple(tiers)
        self.rules = rules
        self.uses = uses
        self.losses = losses
        self.pins = Pins(block_tokens=rules.block_tokens)
        self._expires = any(tier.spec.ttl_s is not None for tier in tiers)
        ttls_s = [tier.ttl_s for tier in tiers]
        self._kept_s = max(ttls_s)
        """How long the memory with the longest TTL keeps what nobody uses."""
        self._handing_on = tuple(
            tier for index, tier in enumerate(tiers) if tier.ttl_s < max(ttls_s[index + 1 :], default=0.0)
        )
        """Tiers whose blocks another one keeps longer."""
        writes = [tier.spec.policy.write for tier in tiers]
        self._written_through = tuple(i for i, write in enumerate(writes) if i and write == "write_through")
        self._selective = {
            index: UseCounts(
                threshold=tier.spec.policy.write_threshold,
                block_tokens=rules.block_tokens,
            )
            for index, tier in enumerate(tiers)
            if index and tier.spec.policy.write == "write_through_selective"
        }
        """By tier, what counts uses for it."""
        self._permanent: Permanent | None = None
        if tiers[0].pin_blocks:
            self._permanent = Permanent(block_tokens=rules.block_tokens, limit=tiers[0].pin_limit)
        self._places = tuple(TIERS.index(tier.spec.name) for tier in tiers)
        self._size = rules.block_tokens
        self._limit_less = int(rules.hit_leaves_a_token)
        self._looked: Match | None = None
        """What was looked up last."""
        self._state_rules = states
        self._states = tuple(tier for tier in tiers if isinstance(tier, StateTier))
        """All tiers of a model with layers that keep a state, none of another's."""

    @property
    def room_blocks(self) -> float:
        """HBM blocks that open requests could still get."""
        return self.tiers[0].room_blocks

    @property
    def saves_states(self) -> bool:
        """Whether the model has layers that keep a state, which is saved beside KV."""
        return self._state_rules is not None

    def lookup(self, prompt: Prompt, now_s: float) -> Match:
        """Return the longest prefix held, as it is after `expire`; changes nothing."""
        changes, last = self.uses.changes, self._looked
        if last is not None and last.changes == changes and last.at_s == now_s and last.prompt == prompt:
            return last
        node, length = prompt
        size, tiers = self._size, self.tiers
        limit = (length - self._limit_less) // size
        hit = hbm_reach(tiers[0], node, limit, size, now_s)
        by_tier = [0] * len(tiers)
        parts: list[Part] = []
        if hit < limit and len(tiers) > 1:
            parts = lower_parts(tiers, node, hit, limit, size, now_s)
        if self._states:
            end = parts[-1].end if parts else hit
            end = max([tier.resume(node, end, size) for tier in self._states])
            parts = cut_parts(parts, end)
            hit = min(hit, end)
        by_tier[0] = hit * size
        if parts:
            for part in parts:
                by_tier[part.tier] += (part.end - part.start) * size
        self._looked = match = Match(prompt, now_s, by_tier, parts, changes)
        return match

    def peek(self, prompt: Prompt, now_s: float) -> int:
        """Return how many tokens of the prompt are held; changes nothing."""
        return self.lookup(prompt, now_s).tokens

    def next_expiry_s(self) -> float:
        """Return when `expire` next has blocks for a tier that keeps them longer; infinite if never."""
        due_s = INFINITE
        for tier in self._handing_on:
            due_s = min(due_s, math.nextafter(tier.runs.oldest_s() + tier.ttl_s, math.inf))
        return due_s

    def expire(self, now_s: float) -> list[Transfer]:
        """Let every tier go of what has outlived its TTL; what a lower tier keeps longer moves there."""
        transfers: list[Transfer] = []
        if self._expires:
            # Deepest first: what a tier gets does not bring its own old copy back.
            for index in range(len(self.tiers) - 1, -1, -1):
                expired = self.tiers[index].expire(now_s)
                if expired:
                    self.uses.changes += 1
                    self._demote(index, expired, now_s, transfers)
        return transfers

    def admit(
        self, match: Match, now_s: float, *, use_tokens: int | None, ideal_tokens: int | None
    ) -> Admission:
        """Pin the match and reserve room for the rest of its prompt.

        The prompt's node is where the output will go: its own if the reply is echoed, else a branch.
        `use_tokens` below the match's leaves the rest of it to be computed again. A match that is no
        longer current is looked up again. With `ideal_tokens` the loss against it is explained.
        """
        prompt = match.prompt
        transfers = self.expire(now_s)
        if match.at_s != now_s or match.changes != self.uses.changes:
            match = self.lookup(prompt, now_s)
        size = self.rules.block_tokens
        hbm = self.tiers[0]
        used_tokens = match.tokens if use_tokens is None else min(use_tokens, match.tokens)
        states = self._state_rules
        if states is not None:
            used_tokens = match.tokens
        used = used_tokens // size
        hit = min(used, match.by_tier[0] // size)
        room = self.rules.room_for(prompt.length)
        if states is not None:
            room += states.room_blocks
        capacity = hbm.capacity_blocks
        if capacity is not None:
            if room > capacity - hbm.pin_limit:
                return Admission("too_large", None, match, 0, 0, NO_TOKENS, NO_LOSS, transfers)
            reach = self.pins.reach(prompt.node, hit)
            if self._permanent is not None:
                reach = max(reach, self._permanent.reach(prompt.node, hit))
            if room - reach > hbm.room_blocks:
                return Admission("wait", None, match, 0, 0, NO_TOKENS, NO_LOSS, transfers)
        self.uses.changes += 1
        ideal = used * size
        lost_to = NO_LOSS
        if self.losses is not None and ideal_tokens is not None:
            ideal = max(ideal_tokens, match.tokens)
            if ideal > used * size:
                lost_to = self.losses.split(
                    match, self.tiers, ideal, self.rules.hit_limit(prompt.length), used * size
                )
        handle = Handle(prompt.node, prompt.length)
        self._pin(handle, hit)
        hbm.counters.hit_blocks += hit
        if used > hit:
            self._promote(handle, match, used, now_s, transfers)
        if states is not None and used:
            transfers += self._save_state(handle.node, used, now_s)
        evicted = hbm.make_room(room - hit, now_s)
        if evicted:
            self._demote(0, evicted, now_s, transfers)
        handle.reserved = room - hit
        hbm.reserved += room - hit
        if states is not None:
            handle.prompt_blocks = self.rules.hit_limit(prompt.length)
            handle.saved_end = used
        return Admission(
            "admitted", handle, match, used * size, ideal, self._by_name(match, used), lost_to, transfers
        )

    def publish(self, handle: Handle, computed_tokens: int) -> None:
        """Let others hit the whole blocks among the request's first `computed_tokens` tokens."""
        end = min(computed_tokens, handle.tokens) // self.rules.block_tokens
        start = handle.visible
        if end <= start:
            return
        self.uses.changes += 1
        hbm = self.tiers[0]
        inserted = 0
        pins, held = handle.pins, hbm.runs
        for node, low, high in spans(handle.node, start, end, self.rules.block_tokens):
            inserted += held.paint(node, low, high, PINNED, True)
            if pins and pins[-1][0] is node:
                self.pins.move(node, pins.pop()[1], high)
            else:
                self.pins.add(node, high)
            pins.append((node, high))
        if self.losses is not None:
            self.losses.publish(hbm, handle.node, start, end)
        hbm.counters.inserted_blocks += inserted
        hbm.reserved -= end - start
        handle.reserved -= end - start
        handle.visible = end

    def save_state(self, handle: Handle, computed_tokens: int, now_s: float) -> list[Transfer]:
        """Save the state after so many tokens, if it is one of those that are saved."""
        states, size = self._state_rules, self.rules.block_tokens
        end = computed_tokens // size
        if states is None or computed_tokens % size or end <= handle.saved_end:
            return []
        handle.saved_end = end
        if states.at_prompt_end_only and end != handle.prompt_blocks:
            return []
        return self._save_state(handle.node, end, now_s)

    def _save_state(self, node: Node, end: int, now_s: float) -> list[Transfer]:
        """Let every tier hold the state after the first `end` blocks of a path; its copies take no time."""
        transfers: list[Transfer] = []
        self.uses.changes += 1
        use = self.uses.new(now_s, node)
        for index, tier in enumerate(self._states):
            self._demote(index, tier.save(node, end, use, now_s, self.rules.block_tokens), now_s, transfers)
        if self.losses is not None:
            self.losses.save_state(node, end)
        return transfers

    def _save_decoded(self, handle: Handle, computed_tokens: int, now_s: float) -> list[Transfer]:
        """Save the states that decoding has passed, as they are saved as it passes them."""
        transfers: list[Transfer] = []
        size = self.rules.block_tokens
        first = max(handle.saved_end, handle.prompt_blocks) + 1
        for end in range(first, computed_tokens // size + 1):
            transfers += self.save_state(handle, end * size, now_s)
        return transfers

    def grow(self, handle: Handle, tokens: int, now_s: float) -> Growth:
        """Make room for `tokens` more tokens at the end of the request's own node."""
        more = self.rules.room_for(handle.tokens + tokens) - self.rules.room_for(handle.tokens)
        transfers: list[Transfer] = []
        if more > 0:
            hbm = self.tiers[0]
            if more > hbm.room_blocks:
                return Growth(False, transfers)
            transfers = self.free(more, now_s)
            hbm.reserved += more
            handle.reserved += more
        handle.tokens += tokens
        return Growth(True, transfers)

    def free(self, blocks: int, now_s: float) -> list[Transfer]:
        """Evict until so many blocks of HBM are free."""
        transfers = self.expire(now_s)
        evicted = self.tiers[0].make_room(blocks, now_s)
        if evicted:
            self.uses.changes += 1
            self._demote(0, evicted, now_s, transfers)
        return transfers

    def release(self, handle: Handle, now_s: float, computed_tokens: int) -> list[Transfer]:
        """End the request: its whole computed blocks stay, last used now; its room is given back."""
        assert handle.is_open
        transfers = self.expire(now_s)
        self.publish(handle, computed_tokens)
        if self._states:
            transfers += self._save_decoded(handle, computed_tokens, now_s)
        self.uses.changes += 1
        hbm = self.tiers[0]
        use = self.uses.new(now_s, handle.node)
        for node, end in handle.pins:
            kept = self.pins.remove(node, end)
            if kept < end:
                hbm.runs.paint(node, kept, end, use, fill=False)
        if self._permanent is not None:
            self._make_permanent(handle, self._permanent)
        longer = self._keep(handle, now_s) if handle.keep_s > self._kept_s else None
        if self.losses is not None:
            self.losses.release(handle.node, handle.visible, now_s)
        hbm.reserved -= handle.reserved
        handle.reserved = 0
        handle.is_open = False
        if self._written_through:
            pieces = self._pieces(handle, handle.visible, use, longer)
            for index in self._written_through:
                self._offer(index, pieces, transfers)
        if self._selective:
            for index, counts in self._selective.items():
                end = self._count_use(handle, counts)
                if end:
                    self._offer(index, self._pieces(handle, end, use, longer), transfers)
        return transfers

    def abort(self, handle: Handle, now_s: float) -> list[Transfer]:
        """End or preempt the request with what it has published so far."""
        return self.release(handle, now_s, 0)

    def land(self, transfer: Transfer, now_s: float) -> list[Transfer]:
        """A transfer has arrived: a read is visible in HBM, a write is held by its tier."""
        assert not transfer.is_settled
        transfer.is_settled = True
        transfers: list[Transfer] = []
        handle = transfer.handle
        if handle is not None:
            handle.loads -= 1
            if handle.is_open and not handle.loads:
                self.publish(handle, handle.loads_end * self.rules.block_tokens)
            return transfers
        self.uses.changes += 1
        if self.losses is not None:
            self.losses.settle(transfer.pieces, dropped_by=None)
        tier = transfer.tier
        refused = tier.take_in(transfer.pieces, transfer.blocks, self.rules.block_bytes, now_s)
        if refused and self.losses is not None:
            self.losses.refuse(refused, tier)
        transfers = self.expire(now_s)
        self._demote(transfer.tier_index, tier.make_room(0, now_s), now_s, transfers)
        return transfers

    def drop(self, transfer: Transfer) -> None:
        """A write that its tier could not take: its blocks are lost."""
        assert transfer.direction == "write" and not transfer.is_settled
        transfer.is_settled = True
        if self.losses is not None:
            self.losses.settle(transfer.pieces, dropped_by=transfer.tier)
        transfer.tier.lose(transfer.pieces, transfer.blocks, transfer.bytes)

    def block(self, transfer: Transfer) -> None:
        """Count a write that its tier lets wait."""
        transfer.tier.counters.blocked_writes += 1

    def cleared(self) -> None:
        """The memories have let go of what nobody is using."""
        self.uses.changes += 1
        if self._permanent is not None:
            self._permanent.clear()
        for counts in self._selective.values():
            counts.ends.clear()

    def _pieces(self, handle: Handle, end: int, use: Use, longer: Use | None) -> list[Piece]:
        """Return the first `end` blocks of a request with their uses: those to be kept, and the others."""
        size = self.rules.block_tokens
        split = 0 if longer is None else min(handle.keep_blocks, end)
        pieces = [(node, low, high, use) for node, low, high in spans(handle.node, split, end, size)]
        if longer is not None:
            front = spans(handle.node, 0, split, size)
            pieces[:0] = [(node, low, high, longer) for node, low, high in front]
        return pieces

    def _count_use(self, handle: Handle, counts: UseCounts) -> int:
        """Count a request's use of its blocks; return how many of them were used often enough."""
        reach = 0
        for node, low, high in spans(handle.node, 0, handle.visible, self.rules.block_tokens):
            often = min(counts.add(node, high), high)
            if reach == low:
                reach = often
        return reach

    def _make_permanent(self, handle: Handle, permanent: Permanent) -> None:
        """Never let go of what begins a request's path, as far as the tier allows."""
        hbm = self.tiers[0]
        end = min(handle.visible, hbm.pin_blocks)
        for node, low, high in spans(handle.node, 0, end, self.rules.block_tokens):
            stop = min(permanent.extend(node, high), high)
            if stop > low:
                hbm.runs.repaint(node, low, stop, PERMANENT)
            if stop < high:
                return

    def _keep(self, handle: Handle, now_s: float) -> Use:
        """Let what a request asks to have kept for longer than any TTL count from later than now."""
        use = self.uses.keep(now_s, handle.keep_s - self._kept_s, handle.node)
        end = min(handle.keep_blocks, handle.visible)
        for node, low, high in spans(handle.node, 0, end, self.rules.block_tokens):
            self.tiers[0].runs.repaint(node, low, high, use)
        return use

    def _pin(self, handle: Handle, end: int) -> None:
        """Pin the first `end` blocks of the request's path, all of which are held."""
        runs = self.tiers[0].runs
        for node, low, high in spans(handle.node, 0, end, self.rules.block_tokens):
            pinned = self.pins.add(node, high)
            if pinned < high:
                runs.paint(node, pinned if pinned > low else low, high, PINNED, fill=False)
            handle.pins.append((node, high))
        handle.visible = end

    def _promote(
        self, handle: Handle, match: Match, used: int, now_s: float, transfers: list[Transfer]
    ) -> None:
        """Read what lower tiers serve of the first `used` blocks; reading is a use of a copy that stays."""
        blocks = [0] * len(self.tiers)
        use = self.uses.new(now_s, handle.node)
        for part in match.parts:
            start, end = part.start, min(part.end, used)
            if start >= end:
                break
            tier = self.tiers[part.tier]
            blocks[part.tier] += end - start
            if tier.spec.inclusive:
                tier.note_use(part.node, start, end, use)
            else:
                tier.promote_away(part.node, start, end)
        block_bytes = self.rules.block_bytes
        for index, count in enumerate(blocks):
            if count:
                tier = self.tiers[index]
                tier.counters.hit_blocks += count
                tier.counters.read_bytes += count * block_bytes
                transfers.append(Transfer(tier, index, "read", count, block_bytes, [], handle))
                handle.loads += 1
        handle.loads_end = used

    def _demote(self, index: int, pieces: list[Piece], now_s: float, transfers: list[Transfer]) -> None:
        """Offer what left tier `index` to the first tier below that would still hold it at its age."""
        if not pieces:
            return
        if self._selective and not index:
            for counts in self._selective.values():
                counts.cut(pieces)
        for below in range(index + 1, len(self.tiers)):
            if below in self._selective:
                pieces = self._note(below, pieces)
                if not pieces:
                    return
                continue
            ttl_s = self.tiers[below].ttl_s
            if ttl_s == INFINITE:
                self._offer(below, pieces, transfers)
                return
            self._offer(below, [piece for piece in pieces if piece[3].at_s + ttl_s >= now_s], transfers)
            pieces = [piece for piece in pieces if piece[3].at_s + ttl_s < now_s]
            if not pieces:
                return

    def _note(self, index: int, pieces: list[Piece]) -> list[Piece]:
        """Let a tier note the use of what it holds or is being written; return the rest."""
        tier = self.tiers[index]
        lacking: list[Piece] = []
        for node, start, end, use in pieces:
            tier.note_use(node, start, end, use)
            for low, high in tier.runs.missing(node, start, end):
                self._send(tier, (node, low, high, use), lacking)
        return lacking

    def _offer(self, index: int, pieces: list[Piece], transfers: list[Transfer]) -> None:
        """Let a tier note the use of what it holds or is being written, and be written the rest."""
        tier = self.tiers[index]
        held = tier.runs
        by_node = held.by_node
        writes: list[Piece] = []
        for piece in pieces:
            node, start, end, use = piece
            runs = by_node.get(node)
            if runs is None:
                self._send(tier, piece, writes)
                continue
            low, high, known = runs[-1]
            if low <= start:
                # No gap but the one behind the last run, as is usual.
                if high > start and known.sequence < use.sequence:
                    tier.note_use(node, start, end, use)
                if high < end:
                    self._send(tier, (node, high if high > start else start, end, use), writes)
                continue
            tier.note_use(node, start, end, use)
            for low, high in held.missing(node, start, end):
                self._send(tier, (node, low, high, use), writes)
        if writes:
            blocks = 0
            for _, start, end, _ in writes:
                blocks += end - start
            if self.losses is not None:
                self.losses.move(writes)
            tier.expect(writes, blocks)
            transfers.append(Transfer(tier, index, "write", blocks, self.rules.block_bytes, writes, None))

    def _send(self, tier: Tier, piece: Piece, writes: list[Piece]) -> None:
        """Append to `writes` what of a piece, which the tier lacks, is not on its way there yet."""
        coming = tier.coming
        node, start, end, use = piece
        if node not in coming.by_node:
            writes.append(piece)
            return
        coming.paint(node, start, end, use, False)
        for low, high in coming.missing(node, start, end):
            writes.append((node, low, high, use))

    def _by_name(self, match: Match, used: int) -> tuple[int, ...]:
        """Return the tokens of the first `used` blocks by tier, in the order of `TIERS`."""
        size = self.rules.block_tokens
        tokens = [0] * len(TIERS)
        tokens[self._places[0]] = min(match.by_tier[0], used * size)
        for part in match.parts:
            if part.start < used:
                tokens[self._places[part.tier]] += (min(part.end, used) - part.start) * size
        return tuple(tokens)
