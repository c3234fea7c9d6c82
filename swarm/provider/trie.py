"""From content to its place in the context tree.

Contents are the fingerprints of their blocks; a branch holds those of its own stretch and is a node of the
tree. What has been sent once is found again, whoever sends it; what is new extends the branch that it
continues, or branches off where it differs. So a conversation stays one node, however many turns it has.

What no memory holds any longer is remembered up to a bound, oldest first out: when it is sent again, the
fleet must know that it was there before to say why it is not any more. Beyond that bound a table keeps that
it was there.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable

from swarm.context.tree import Node
from swarm.provider.fingerprints import PRINT_BYTES
from swarm.provider.forgotten import Forgotten, beginning

BRANCH_BYTES = 8192
"""What a remembered branch counts beside its fingerprints: 2 KiB of memory, and some ten objects that the
garbage collector walks over while all streams wait; so short prompts are not remembered by the million."""


class Branch:
    """The stretch of blocks from `start` on that one node owns."""

    __slots__ = (
        "branches",
        "goes_on",
        "is_cut",
        "is_doubted",
        "key",
        "node",
        "parent",
        "past",
        "prints",
        "remembered_bytes",
        "start",
    )

    def __init__(self, node: Node, parent: Branch | None, key: bytes, start: int, prints: bytes) -> None:
        self.node = node
        self.parent = parent
        self.key = key
        """Under which its parent, or the trie, has it."""
        self.start = start
        self.prints = bytearray(prints)
        self.is_doubted = False
        """Some of it was held by nobody when last looked at."""
        self.is_cut = False
        """What followed was forgotten: nothing may follow on this node, as it could be something else."""
        self.remembered_bytes = 0
        """What it is counted as while some of it is held by nobody and remembered; else 0."""
        self.goes_on = False
        """It is all of it content that was forgotten, and what followed may be forgotten, too."""
        self.past: int | None = None
        """What stands for all content before it, where that was needed."""
        self.branches: dict[bytes, Branch] = {}
        """By the place and fingerprint of their first block."""

    @property
    def end(self) -> int:
        """The block after the last one known."""
        return self.start + len(self.prints) // PRINT_BYTES


class ContentTrie:
    """All content that somebody may still hold, and of the rest as much as there is room to remember."""

    def __init__(self, *, block_tokens: int, remembered_bytes_max: int, forgotten: Forgotten) -> None:
        self._block_tokens = block_tokens
        self._forgotten = forgotten
        self._remembered_bytes_max = remembered_bytes_max
        self._roots: dict[bytes, Branch] = {}
        self._names_count = 0
        self._turn: deque[Branch] = deque()
        """The branches that somebody may hold, the next to be looked at first."""
        self._remembered: OrderedDict[Branch, None] = OrderedDict()
        """The others: those of which some is held by nobody, the one that was found so first in front."""
        self.remembered_bytes = 0
        self.blocks_count = 0
        """Fingerprints held."""

    def __len__(self) -> int:
        """Return how many branches there are."""
        return len(self._turn) + len(self._remembered)

    def place(self, kind: bytes, prints: bytes) -> Node:
        """Return the node on which content ends, from now on known; `kind` keeps ids and text apart."""
        if not prints:
            return self._short()
        first = kind + prints[:PRINT_BYTES]
        branch = self._roots.get(first)
        if branch is None:
            branch = self._roots[first] = self._branch(None, first, 0, prints)
            return branch.node
        while True:
            if branch.remembered_bytes:
                self._recall(branch)
            own = branch.prints
            at = branch.start * PRINT_BYTES
            rest = memoryview(prints)[at:]
            common = _common(own, rest)
            end = at + common
            if end == len(prints):
                return branch.node
            key = end.to_bytes(8, "little") + prints[end : end + PRINT_BYTES]
            below = branch.branches.get(key)
            if below is not None:
                branch = below
                continue
            if common == len(own) and not branch.is_cut:
                own += rest[common:]
                self.blocks_count += (len(prints) - end) // PRINT_BYTES
                if branch.goes_on:
                    self._look_up(branch, end // PRINT_BYTES)
                return branch.node
            below = branch.branches[key] = self._branch(branch, key, end // PRINT_BYTES, prints[end:])
            return below.node

    def forget(self, held_tokens: Callable[[Node], int], count: int) -> None:
        """Look at the next `count` branches in turn; forget what is beyond the bound of what nobody holds.

        `held_tokens` says up to where somebody holds a node's content. What is on its way between two
        memories is held by neither, so a branch must be found so twice.
        """
        turn = self._turn
        for _ in range(min(count, len(turn))):
            branch = turn.popleft()
            if self._kept_blocks(branch, held_tokens) * PRINT_BYTES >= len(branch.prints):
                branch.is_doubted = False
            elif branch.is_doubted:
                self._remember(branch)
                continue
            else:
                branch.is_doubted = True
            turn.append(branch)
        while self.remembered_bytes > self._remembered_bytes_max:
            self._forget_oldest(held_tokens)

    def audit(self) -> None:
        """Check that what is remembered is counted, and within its bound."""
        assert self.remembered_bytes == sum(branch.remembered_bytes for branch in self._remembered)
        assert self.remembered_bytes <= self._remembered_bytes_max
        held = sum(len(branch.prints) for branch in (*self._turn, *self._remembered))
        assert held == self.blocks_count * PRINT_BYTES

    def _kept_blocks(self, branch: Branch, held_tokens: Callable[[Node], int]) -> int:
        """Return how many blocks of a branch are held, or lead to content that may be."""
        held = held_tokens(branch.node) // self._block_tokens
        below = (each.start for each in branch.branches.values() if not each.remembered_bytes)
        return max(held, *below, 0) - branch.start

    def _remember(self, branch: Branch) -> None:
        """Count a branch among those that nobody holds as they are."""
        branch.is_doubted = False
        branch.remembered_bytes = len(branch.prints) + BRANCH_BYTES
        self.remembered_bytes += branch.remembered_bytes
        self._remembered[branch] = None

    def _recall(self, branch: Branch) -> None:
        """Count a branch among those that somebody may hold."""
        self.remembered_bytes -= branch.remembered_bytes
        branch.remembered_bytes = 0
        del self._remembered[branch]
        self._turn.append(branch)

    def _forget_oldest(self, held_tokens: Callable[[Node], int]) -> None:
        """Forget what nobody holds of the branch that was remembered first.

        One that leads to others that are remembered stays behind them.
        """
        branch = next(iter(self._remembered))
        kept = self._kept_blocks(branch, held_tokens)
        self._recall(branch)
        leads = max((below.start - branch.start for below in branch.branches.values()), default=0)
        if kept <= 0 and not branch.branches:
            self._turn.pop()
            self._drop(branch)
            return
        self._cut(branch, max(kept, leads, 1))
        if kept < leads:
            self._turn.pop()
            self._remember(branch)

    def _branch(self, parent: Branch | None, key: bytes, start: int, prints: bytes) -> Branch:
        self._names_count += 1
        self.blocks_count += len(prints) // PRINT_BYTES
        above = None if parent is None else parent.node
        node = Node(f"c{self._names_count}", above, start * self._block_tokens)
        branch = Branch(node, parent, key, start, prints)
        self._turn.append(branch)
        if not self._forgotten.is_empty:
            self._look_up(branch, start)
        return branch

    def _look_up(self, branch: Branch, start: int) -> None:
        """Tell what is known of a branch's blocks from `start` on, which are new to it."""
        past, split = self._past(branch), (start - branch.start) * PRINT_BYTES
        past = self._forgotten.past(past, branch.start, branch.prints[:split])
        branch.goes_on = self._forgotten.recall(branch.node, past, start, branch.prints[split:])

    def _past(self, branch: Branch) -> int:
        """Return what stands for all content before a branch."""
        path = [branch]
        while path[-1].past is None and path[-1].parent is not None:
            path.append(path[-1].parent)
        above = path.pop()
        if above.past is None:
            above.past = beginning(above.key[:-PRINT_BYTES])
        past = above.past
        while path:
            below = path.pop()
            prints = above.prints[: (below.start - above.start) * PRINT_BYTES]
            past = below.past = self._forgotten.past(past, above.start, prints)
            above = below
        return past

    def _note(self, branch: Branch, blocks: int) -> None:
        """Keep that what follows the first blocks of a branch was there."""
        past, split = self._past(branch), blocks * PRINT_BYTES
        past = self._forgotten.past(past, branch.start, branch.prints[:split])
        self._forgotten.note(branch.node, past, branch.start + blocks, branch.prints[split:])

    def _short(self) -> Node:
        """Return a node for content shorter than a block, which no cache can hold."""
        self._names_count += 1
        return Node(f"c{self._names_count}")

    def _drop(self, branch: Branch) -> None:
        self._note(branch, 0)
        self.blocks_count -= len(branch.prints) // PRINT_BYTES
        holder = self._roots if branch.parent is None else branch.parent.branches
        del holder[branch.key]

    def _cut(self, branch: Branch, blocks: int) -> None:
        if blocks * PRINT_BYTES >= len(branch.prints):
            return
        self._note(branch, blocks)
        self.blocks_count -= len(branch.prints) // PRINT_BYTES - blocks
        del branch.prints[blocks * PRINT_BYTES :]
        branch.is_cut = True
        branch.is_doubted = False


def _common(own: bytearray, rest: memoryview) -> int:
    """Return how many bytes of whole fingerprints two sequences share from their start."""
    size = min(len(own), len(rest))
    if own[:size] == rest[:size]:
        return size
    low, high = 0, size // PRINT_BYTES
    # Invariant: [0, low) is shared, [low, high) holds the first difference.
    while high - low > 1:
        middle = (low + high) // 2
        if own[low * PRINT_BYTES : middle * PRINT_BYTES] == rest[low * PRINT_BYTES : middle * PRINT_BYTES]:
            low = middle
        else:
            high = middle
    return low * PRINT_BYTES
