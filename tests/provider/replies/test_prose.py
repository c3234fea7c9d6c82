"""Replies count as stated: every word one token of a vocabulary that is not ours."""

from __future__ import annotations

import pytest

from swarm.provider.replies.prose import VOCABULARY, words


@pytest.mark.parametrize("tokens", [1, 7, 8, 20, 5_000])
def test_a_reply_is_words_alone(tokens: int) -> None:
    text = words(f"reply {tokens}", tokens).decode()
    assert {f" {word}".encode() for word in text.split()} <= set(VOCABULARY)
    assert len(text.split()) == tokens
