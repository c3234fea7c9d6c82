import json
import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from swarm.context.render import CHUNK_TOKENS, WORDS, Alphabet, id_alphabet, text_alphabet
from swarm.context.tree import Prompt, root

TEXT, IDS = text_alphabet(4.0), id_alphabet(1000, 8191)


def joined(alphabet: Alphabet, prompt: Prompt) -> bytes:
    return b"".join(alphabet.render(prompt))


@st.composite
def trees(draw: st.DrawFn) -> list[Prompt]:
    """Prompts in one tree, each after the prompt that it branches off."""
    prompts = [root(f"root {draw(st.integers(0, 3))}").extend(draw(st.integers(1, 3 * CHUNK_TOKENS)))]
    for k in range(draw(st.integers(0, 4))):
        base = draw(st.sampled_from(prompts))
        place = Prompt(base.node, draw(st.integers(base.node.start + 1, base.length)))
        prompts.append(place.branch(f"node {k}").extend(draw(st.integers(1, 2 * CHUNK_TOKENS))))
    return prompts


@given(prompts=trees(), more=st.integers(1, 9_000))
@settings(max_examples=60, deadline=None)
def test_a_prompt_is_the_prefix_of_every_longer_one(prompts: list[Prompt], more: int) -> None:
    for prompt in prompts:
        for alphabet, width in ((TEXT, 4), (IDS, 5)):
            whole = joined(alphabet, prompt)
            assert len(whole) == width * prompt.length
            assert joined(alphabet, prompt.extend(more)).startswith(whole)


@given(prompts=trees())
@settings(max_examples=60, deadline=None)
def test_two_prompts_share_exactly_the_stretches_they_share_in_the_tree(prompts: list[Prompt]) -> None:
    for one in prompts:
        for other in prompts:
            # The oracle walks the paths; the renderings only have their bytes.
            shared = 0
            for mine, yours in zip(one.path(), other.path(), strict=False):
                if mine.node is not yours.node:
                    break
                shared = min(mine.end, yours.end)
                if mine.end != yours.end:
                    break
            a, b = joined(TEXT, one), joined(TEXT, other)
            common = next(
                (k for k, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b))
            )
            # Behind the shared part begins a name, which differs from what the other holds within 16 bytes.
            assert 4 * shared <= common < 4 * shared + 16 or common == min(len(a), len(b))


def test_every_node_starts_with_its_name() -> None:
    prompt = root("system").extend(100).branch("agent").extend(100)
    text = joined(TEXT, prompt)
    assert text[:16] == b"%016x" % prompt.path()[0].node.key
    assert text[400:416] == b"%016x" % prompt.node.key


def test_text_is_words_of_four_bytes_that_need_no_escape() -> None:
    text = joined(TEXT, root("words").extend(2 * CHUNK_TOKENS))
    assert json.loads(b'"' + text + b'"') == text.decode()
    words = {WORDS[k : k + 4] for k in range(0, len(WORDS), 4)}
    assert len(words) == 256
    assert {text[k : k + 4] for k in range(16, len(text), 4)} <= words


@pytest.mark.parametrize(("low", "high"), [(1000, 8191), (0, 255), (5, 100_000)])
def test_ids_are_a_json_list_within_their_range(low: int, high: int) -> None:
    prompt = root("ids").extend(CHUNK_TOKENS + 500).branch("more").extend(77)
    ids = json.loads(b"[" + joined(id_alphabet(low, high), prompt)[:-1] + b"]")
    assert len(ids) == prompt.length
    assert min(ids) >= low
    assert max(ids) <= high
    assert len(set(ids)) > 200


def test_another_process_renders_the_same_bytes() -> None:
    code = (
        "import sys; from swarm.context.render import *; from swarm.context.tree import root;"
        "p = root('r').extend(9000).branch('b').extend(5000);"
        "sys.stdout.buffer.write(b''.join(text_alphabet(4.0).render(p) + id_alphabet(1000, 8191).render(p)))"
    )
    there = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout
    prompt = root("r").extend(9000).branch("b").extend(5000)
    assert there == joined(TEXT, prompt) + joined(IDS, prompt)


@pytest.mark.parametrize("bytes_per_token", [3.7, 4.0, 5.25])
def test_other_ratios_keep_prefixes_and_lengths(bytes_per_token: float) -> None:
    alphabet = text_alphabet(bytes_per_token)
    prompt = root("ratio").extend(1001).branch("b").extend(333)
    whole = joined(alphabet, prompt)
    assert len(whole) == int(prompt.length * bytes_per_token)
    assert joined(alphabet, prompt.extend(7)).startswith(whole)


def test_an_echo_replaces_its_stretch_and_nothing_else() -> None:
    planned, echoing = root("talk").extend(300), root("talk").extend(300)
    echoing.node.echo(100, 150, 'a "real" reply\n')
    before, after = joined(TEXT, planned), joined(TEXT, echoing)
    assert after == before[:400] + rb"a \"real\" reply\n" + before[600:]
    kinds = [(replied, b"".join(buffers)) for replied, buffers in TEXT.segments(echoing)]
    assert kinds == [(False, before[:400]), (True, rb"a \"real\" reply\n"), (False, before[600:])]


def test_a_prompt_that_ends_inside_an_echo_has_a_prefix_of_it() -> None:
    prompt = root("cut").extend(300)
    prompt.node.echo(100, 200, "x" * 1000)
    half = joined(TEXT, Prompt(prompt.node, 150))
    assert half.endswith(b"x" * 500)
    assert joined(TEXT, prompt).startswith(half)


def test_echoed_ids_are_repeated_and_foreign_text_is_not() -> None:
    prompt = root("ids").extend(50)
    planned = json.loads(b"[" + joined(IDS, prompt)[:-1] + b"]")
    prompt.node.echo(20, 23, "7,70000,7")
    prompt.node.echo(30, 33, "not ids")
    ids = json.loads(b"[" + joined(IDS, prompt)[:-1] + b"]")
    assert ids == [*planned[:20], 7, 70000, 7, *planned[23:]]


def test_what_is_kept_of_a_node_goes_with_it() -> None:
    alphabet = text_alphabet(5.5)
    prompts = [root(f"kept {k}").extend(9000) for k in range(10)]
    for prompt in prompts:
        joined(alphabet, prompt)
    assert len(alphabet._begun) == 10
    del prompt, prompts[3:]
    assert len(alphabet._begun) == 3
