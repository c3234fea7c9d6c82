"""Hits without limits, beside a twin that keeps every block of every path."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from swarm.context.ideal import Ideal
from swarm.context.tree import Node, Prompt

BLOCK = 4


@st.composite
def sends(draw: st.DrawFn) -> list[Prompt]:
    """Draw prompts that end somewhere in a tree of branches, mid-block ones included."""
    nodes = [Node("root")]
    prompts = []
    for index in range(draw(st.integers(1, 12))):
        parent = draw(st.sampled_from(nodes))
        if draw(st.booleans()):
            at = parent.start + draw(st.integers(0, 20))
            nodes.append(Prompt(parent, at).branch(f"n{index}").node)
        node = draw(st.sampled_from(nodes))
        prompts.append(Prompt(node, node.start + draw(st.integers(1, 30))))
    return prompts


def content(prompt: Prompt) -> list[tuple[str, int]]:
    """Return each token of a prompt as (node, offset)."""
    tokens: list[tuple[str, int]] = []
    node, end = prompt
    while node is not None:
        tokens = [(node.name, offset) for offset in range(node.start, end)] + tokens
        end = min(end, node.start)
        node = node.parent
    return tokens


@settings(max_examples=200, deadline=None)
@given(prompts=sends())
def test_hits_are_the_whole_blocks_that_were_sent_before(prompts: list[Prompt]) -> None:
    ideal = Ideal(block_tokens=BLOCK)
    seen: set[tuple[tuple[str, int], ...]] = set()
    for prompt in prompts:
        tokens = tuple(content(prompt))
        ends = range(BLOCK, len(tokens) + 1, BLOCK)
        expected = max((end for end in ends if tokens[:end] in seen), default=0)
        assert ideal.send(*prompt) == expected
        seen.update(tokens[:end] for end in range(1, len(tokens) + 1))
