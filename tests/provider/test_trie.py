"""Content to tree places, against a set of prefixes block by block."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from swarm.context.tree import Node
from swarm.kvcache.blocks import spans
from swarm.provider.fingerprints import PRINT_BYTES, Fingerprints
from swarm.provider.trie import ContentTrie

BLOCK_TOKENS = 2
CONTENTS = st.lists(st.integers(0, 1), min_size=1, max_size=12)


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
    trie = ContentTrie(block_tokens=BLOCK_TOKENS)
    prefix_of: dict[tuple[Node, int], tuple[int, ...]] = {}
    name_of: dict[tuple[int, ...], tuple[Node, int]] = {}
    for content in contents:
        node = trie.place(b"text", prints_of(content))
        for at, name in enumerate(names_of(node, len(content))):
            prefix = tuple(content[: at + 1])
            assert prefix_of.setdefault(name, prefix) == prefix
            assert name_of.setdefault(prefix, name) == name
    assert trie.blocks_count == len(name_of)


@given(st.lists(st.tuples(CONTENTS, st.integers(0, 12), st.integers(0, 3)), max_size=60))
@settings(max_examples=150, deadline=None)
def test_what_is_forgotten_is_never_taken_for_something_else(
    steps: list[tuple[list[int], int, int]],
) -> None:
    trie = ContentTrie(block_tokens=BLOCK_TOKENS)
    prefix_of: dict[tuple[Node, int], tuple[int, ...]] = {}
    for content, held_blocks, looks in steps:
        node = trie.place(b"text", prints_of(content))
        for at, name in enumerate(names_of(node, len(content))):
            prefix = tuple(content[: at + 1])
            assert prefix_of.setdefault(name, prefix) == prefix
        trie.forget(lambda _, held=held_blocks: held * BLOCK_TOKENS, looks)


def test_a_conversation_stays_one_node_however_often_it_grows() -> None:
    trie = ContentTrie(block_tokens=BLOCK_TOKENS)
    nodes = {trie.place(b"text", prints_of(list(range(length)))) for length in range(1, 100)}
    assert len(nodes) == 1


def test_ids_and_text_of_the_same_bytes_share_nothing() -> None:
    trie = ContentTrie(block_tokens=BLOCK_TOKENS)
    assert trie.place(b"text", prints_of([1, 2])) is not trie.place(b"ids", prints_of([1, 2]))


def test_what_nobody_holds_is_forgotten() -> None:
    trie = ContentTrie(block_tokens=BLOCK_TOKENS)
    for number in range(1000):
        trie.place(b"text", prints_of([0, number, number]))
        trie.forget(lambda _: 0, 3)
    assert len(trie) < 10
    assert trie.blocks_count < 30


def test_what_somebody_holds_is_found_again() -> None:
    trie = ContentTrie(block_tokens=BLOCK_TOKENS)
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
