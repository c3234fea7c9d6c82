"""Content to tree places, against a set of prefixes block by block."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from swarm.context.tree import Node
from swarm.kvcache.blocks import spans
from swarm.kvcache.loss import Gone
from swarm.provider.fingerprints import PRINT_BYTES, Fingerprints
from swarm.provider.forgotten import Forgotten
from swarm.provider.trie import BRANCH_BYTES, ContentTrie

BLOCK_TOKENS = 2
CONTENTS = st.lists(st.integers(0, 1), min_size=1, max_size=12)


class Computed:
    """A fleet that has computed all that it was sent, and keeps what it is told was there once."""

    def __init__(self) -> None:
        self.recalled: dict[Node, set[int]] = {}

    def gone(self, node: Node, start: int, end: int) -> list[Gone]:
        return [Gone(end, 1.0, -1)]

    def recall(self, node: Node, start: int, gone: list[Gone]) -> None:
        self.recalled[node] = self.recalled.get(node, set()) | set(range(start, gone[-1].end))


def trie_of(
    remembered_bytes_max: int, fleet: Computed | None = None, table_bytes: int = 1 << 16
) -> ContentTrie:
    forgotten = Forgotten(fleet or Computed(), bytes_max=table_bytes)
    return ContentTrie(
        block_tokens=BLOCK_TOKENS, remembered_bytes_max=remembered_bytes_max, forgotten=forgotten
    )


def prints_of(content: list[int]) -> bytes:
    return b"".join(value.to_bytes(PRINT_BYTES, "little") for value in content)


def names_of(node: Node, blocks: int) -> list[tuple[Node, int]]:
    """Return the name of each block of a path: its owner and its place."""
    return [
        (owner, at) for owner, low, high in spans(node, 0, blocks, BLOCK_TOKENS) for at in range(low, high)
    ]


@given(st.lists(CONTENTS, max_size=40))
@settings(max_examples=150, deadline=None)
def test_two_blocks_have_one_name_exactly_if_their_prefixes_are_the_same(contents: list[list[int]]) -> None:
    trie = trie_of(0)
    prefix_of: dict[tuple[Node, int], tuple[int, ...]] = {}
    name_of: dict[tuple[int, ...], tuple[Node, int]] = {}
    for content in contents:
        node = trie.place(b"text", prints_of(content))
        for at, name in enumerate(names_of(node, len(content))):
            prefix = tuple(content[: at + 1])
            assert prefix_of.setdefault(name, prefix) == prefix
            assert name_of.setdefault(prefix, name) == name
    assert trie.blocks_count == len(name_of)


@given(
    st.lists(st.tuples(CONTENTS, st.integers(0, 12), st.integers(0, 3)), max_size=60),
    st.sampled_from([0, 2 * BRANCH_BYTES, 4 * BRANCH_BYTES]),
)
@settings(max_examples=300, deadline=None)
def test_what_is_forgotten_is_never_taken_for_something_else(
    steps: list[tuple[list[int], int, int]], remembered_bytes_max: int
) -> None:
    trie = trie_of(remembered_bytes_max)
    prefix_of: dict[tuple[Node, int], tuple[int, ...]] = {}
    for content, held_blocks, looks in steps:
        node = trie.place(b"text", prints_of(content))
        for at, name in enumerate(names_of(node, len(content))):
            prefix = tuple(content[: at + 1])
            assert prefix_of.setdefault(name, prefix) == prefix
        trie.forget(lambda _, held=held_blocks: held * BLOCK_TOKENS, looks)
        trie.audit()


@given(st.lists(st.tuples(CONTENTS, st.integers(0, 12), st.integers(0, 3)), max_size=60))
@settings(max_examples=300, deadline=None)
def test_all_that_was_there_and_is_in_no_memory_is_told_when_it_comes_back(
    steps: list[tuple[list[int], int, int]],
) -> None:
    fleet = Computed()
    trie = trie_of(0, fleet)
    seen: set[tuple[int, ...]] = set()
    named: set[tuple[Node, int]] = set()
    for content, held_blocks, looks in steps:
        prints = prints_of(content)
        node = trie.place(b"text", prints)
        known = max((end for end in range(len(content) + 1) if tuple(content[:end]) in seen), default=0)
        names = names_of(node, len(content))
        found = sum((node, at) in named or at in fleet.recalled.get(node, ()) for node, at in names)
        assert found == known
        named |= set(names)
        seen |= {tuple(content[:end]) for end in range(1, len(content) + 1)}
        trie.forget(lambda _, held=held_blocks: held * BLOCK_TOKENS, looks)


def test_what_nobody_holds_is_found_again_while_there_is_room() -> None:
    trie = trie_of(12 * BRANCH_BYTES)
    nodes = []
    for number in range(1000):
        nodes.append(trie.place(b"text", prints_of([number, number, number])))
        trie.forget(lambda _: 0, 3)
        trie.audit()
    assert len(trie) < 20
    for number in range(995, 1000):
        assert trie.place(b"text", prints_of([number, number, number])) is nodes[number]
    assert trie.place(b"text", prints_of([0, 0, 0])) is not nodes[0]


def test_a_conversation_stays_one_node_however_often_it_grows() -> None:
    trie = trie_of(0)
    nodes = {trie.place(b"text", prints_of(list(range(length)))) for length in range(1, 100)}
    assert len(nodes) == 1


def test_ids_and_text_of_the_same_bytes_share_nothing() -> None:
    trie = trie_of(0)
    assert trie.place(b"text", prints_of([1, 2])) is not trie.place(b"ids", prints_of([1, 2]))


def test_what_nobody_holds_is_forgotten() -> None:
    trie = trie_of(0)
    for number in range(1000):
        trie.place(b"text", prints_of([0, number, number]))
        trie.forget(lambda _: 0, 3)
    assert len(trie) < 10
    assert trie.blocks_count < 30


def test_what_somebody_holds_is_found_again() -> None:
    trie = trie_of(0)
    node = trie.place(b"text", prints_of([1, 2, 3]))
    for number in range(1000):
        trie.place(b"text", prints_of([0, number]))
        trie.forget(lambda each: 3 * BLOCK_TOKENS if each is node else 0, 3)
    assert trie.place(b"text", prints_of([1, 2, 3])) is node


@given(st.integers(1, 9), st.binary(max_size=200), st.data())
@settings(max_examples=200, deadline=None)
def test_a_changed_byte_changes_its_blocks_fingerprint_and_no_other(
    block_tokens: int, content: bytes, data: st.DataObject
) -> None:
    prints = Fingerprints(block_tokens=block_tokens)
    before = prints.of(content)
    blocks = len(content) // (4 * block_tokens)
    assert len(before) == blocks * PRINT_BYTES
    if not blocks:
        return
    place = data.draw(st.integers(0, blocks * 4 * block_tokens - 1))
    changed = bytearray(content)
    changed[place] ^= data.draw(st.integers(1, 255))
    after = prints.of(bytes(changed))
    differing = [at for at in range(blocks) if before[at * 8 : at * 8 + 8] != after[at * 8 : at * 8 + 8]]
    assert differing == [place // (4 * block_tokens)]
