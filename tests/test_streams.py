"""Streams beside numpy's own: the same numbers from a shorter way to the same seed."""

import pickle

import numpy as np
from hypothesis import example, given
from hypothesis import strategies as st

from swarm.seed_words import seed_words
from swarm.streams import digest64, stream


def numpys(owner: str) -> np.random.Generator:
    return np.random.Generator(np.random.PCG64(digest64(f"7\x00plan\x00{owner}")))


@given(st.integers(0, 2**64 - 1))
@example(0)
@example(2**32 - 1)
@example(2**32)
@example(2**64 - 1)
def test_words_are_those_of_numpys_seed_sequence(entropy: int) -> None:
    assert seed_words(entropy) == np.random.SeedSequence(entropy).generate_state(8).tolist()


@given(st.text(max_size=12))
def test_a_stream_draws_what_numpys_generator_draws(owner: str) -> None:
    mine, theirs = stream(7, "plan", owner), numpys(owner)
    assert mine.random(3).tolist() == theirs.random(3).tolist()
    assert mine.integers(0, 1000, 5).tolist() == theirs.integers(0, 1000, 5).tolist()


def test_what_is_spawned_and_pickled_is_numpys_too() -> None:
    mine, theirs = stream(7, "plan", "a"), numpys("a")
    for _ in range(2):
        children = zip(mine.spawn(2), theirs.spawn(2), strict=True)
        assert all(child.random() == twin.random() for child, twin in children)
    restored = pickle.loads(pickle.dumps(mine))
    assert restored.random() == theirs.random()
    assert restored.spawn(1)[0].random() == theirs.spawn(1)[0].random()
