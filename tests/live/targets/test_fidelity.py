"""Prompts come out as long as planned, by a server's own count."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from swarm.config.target import TargetConfig
from swarm.context.render import word_alphabet
from swarm.context.tree import root
from swarm.errors import ConfigError, RunError
from swarm.live.targets.token_length import fit, lengths_of, measured
from swarm.live.targets.tokenizer import exact_text, single_tokens

tokenizers = pytest.importorskip("tokenizers")


def counting(
    lab: SimpleNamespace,
    tokens_per_byte: float,
    overhead: int,
    reports: bool = True,
    context_tokens: int | None = None,
) -> Any:
    """Answer every request with usage by a tokenizer of its own; refuse what passes its context."""

    async def script(peer: Any) -> None:
        while True:
            _, body = await peer.request()
            text = "".join(message["content"] for message in json.loads(body)["messages"])
            count = overhead + round(len(text) * tokens_per_byte)
            if context_tokens is not None and count > context_tokens:
                await peer.send(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 8\r\n\r\ntoo long")
                continue
            await peer.send(lab.SSE_HEAD)
            events = [lab.delta("a", finish_reason="stop")] + ([lab.usage(count, 1)] if reports else [])
            await peer.chunk(*events, lab.DONE)
            await peer.send(b"0\r\n\r\n")

    return script


@pytest.mark.parametrize("planned", [300, 5_000, 60_000])
@pytest.mark.parametrize(("tokens_per_byte", "overhead"), [(0.25, 0), (0.27, 12), (0.21, 90), (0.33, 3)])
def test_lengths_are_met_within_two_percent(
    lab: SimpleNamespace, tokens_per_byte: float, overhead: int, planned: int
) -> None:
    async def main() -> int:
        async with lab.serving(counting(lab, tokens_per_byte, overhead)) as server:
            config = await measured(TargetConfig(urls=(server.url,), model="m"))
            changes = {"bytes_per_token": config.bytes_per_token, "overhead_tokens": config.overhead_tokens}
            async with lab.targeting(server.url, **changes) as target:
                result = await target.send(lab.make_turn(root("long").extend(planned)))
            return int(result.prompt_tokens)

    assert lab.run(main) == pytest.approx(planned, rel=0.02)


def test_a_context_that_two_tokens_a_word_pass_is_asked_half_as_much(lab: SimpleNamespace) -> None:
    async def main() -> TargetConfig:
        async with lab.serving(counting(lab, 0.52, 9, context_tokens=4_096)) as server:
            return await measured(TargetConfig(urls=(server.url,), model="m"))

    config = lab.run(main)
    assert config.bytes_per_token == pytest.approx(1 / 0.52, rel=0.01)
    assert config.overhead_tokens == pytest.approx(9, abs=2)


def test_a_server_without_usage_is_left_at_four_bytes(lab: SimpleNamespace) -> None:
    async def main() -> TargetConfig:
        async with lab.serving(counting(lab, 0.3, 5, reports=False)) as server:
            return await measured(TargetConfig(urls=(server.url,), model="m"))

    config = lab.run(main)
    assert (config.bytes_per_token, config.overhead_tokens) == (4.0, 0)


def test_what_is_configured_is_not_asked_for() -> None:
    import asyncio

    config = TargetConfig(urls=("http://127.0.0.1:9",), model="m", bytes_per_token=3.5, overhead_tokens=7)
    assert asyncio.run(measured(config)) == config


@pytest.mark.parametrize(("short", "long"), [(300, 300), (300, 10), (10, 100_000)])
def test_counts_that_make_no_sense_are_not_used(short: int, long: int) -> None:
    assert fit((short, long), (256, 2_048)) is None


@pytest.mark.parametrize(
    ("context_tokens", "lengths"), [(None, (256, 2_048)), (4_096, (256, 2_048)), (1_024, (64, 512))]
)
def test_questions_fit_small_models(context_tokens: int | None, lengths: tuple[int, int]) -> None:
    config = TargetConfig(urls=("http://127.0.0.1:9",), model="m", context_tokens=context_tokens)
    assert lengths_of(config) == lengths


def test_a_server_that_reports_half_of_each_prompt_as_cached_is_asked_on(lab: SimpleNamespace) -> None:
    async def script(peer: Any) -> None:
        while True:
            _, body = await peer.request()
            text = "".join(message["content"] for message in json.loads(body)["messages"])
            await peer.send(lab.SSE_HEAD)
            usage = lab.usage(len(text) // 4, 1, len(text) // 8)
            await peer.chunk(lab.delta("a", finish_reason="stop"), usage, lab.DONE)
            await peer.send(b"0\r\n\r\n")

    async def main() -> TargetConfig:
        async with lab.serving(script) as server:
            return await measured(TargetConfig(urls=(server.url,), model="m"))

    assert lab.run(main).bytes_per_token == pytest.approx(4.0, rel=0.01)


def test_a_tokenizer_that_knows_no_word_is_refused(lab: SimpleNamespace) -> None:
    """Word-level vocabularies make one unknown token of every word: the cache finds one prompt in another."""

    async def script(peer: Any) -> None:
        counted = 0
        while True:
            _, body = await peer.request()
            words = len("".join(message["content"] for message in json.loads(body)["messages"]).split())
            await peer.send(lab.SSE_HEAD)
            usage = lab.usage(words, 1, min(counted, words - 1))
            await peer.chunk(lab.delta("a", finish_reason="stop"), usage, lab.DONE)
            await peer.send(b"0\r\n\r\n")
            counted = words

    async def main() -> TargetConfig:
        async with lab.serving(script) as server:
            return await measured(TargetConfig(urls=(server.url,), model="m"))

    with pytest.raises(RunError, match=r"one unknown token .*api: token_ids"):
        lab.run(main)


def word_level(folder: Path, words: list[str]) -> Path:
    """Return the file of a byte-level tokenizer that knows these words after a space, and single bytes."""
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(
        vocab_size=4000, show_progress=False, initial_alphabet=pre_tokenizers.ByteLevel.alphabet()
    )
    tokenizer.train_from_iterator([" " + " ".join(words)] * 50, trainer)
    path = folder / "tokenizer.json"
    tokenizer.save(str(path))
    return path


WORDS = [f"{a}{b}{c}" for a in "bcdfgh" for b in "aeiou" for c in "lmnrst"]


@pytest.mark.parametrize("length", [1, 7, 64, 5000])
def test_with_its_tokenizer_every_length_is_exact(tmp_path: Path, length: int) -> None:
    path = word_level(tmp_path, WORDS)
    alphabet = word_alphabet(single_tokens(path))
    tree = root("a").extend(max(1, length // 2)).branch("b").extend(length - length // 2)
    text = b"".join(alphabet.render(tree)).decode()
    assert len(tokenizers.Tokenizer.from_file(str(path)).encode(text).ids) == tree.length


REPLIES = [
    "",
    " " + " ".join(WORDS[:40]),
    "word without a space before",
    "\n\n  def f(x):\n    return {'a': 1}  ",
    "\ufffd\ufffd naïve 漢字 🙂 " * 9,
    " bal" * 50,
]


@pytest.mark.parametrize("text", REPLIES)
@pytest.mark.parametrize("tokens", [1, 13, 48])
def test_replies_have_their_planned_tokens_too(tmp_path: Path, text: str, tokens: int) -> None:
    """A model's tokens are not those of the text that they make."""
    path = word_level(tmp_path, WORDS)
    alphabet = word_alphabet(single_tokens(path), exact_text(path))
    tokenizer = tokenizers.Tokenizer.from_file(str(path))
    asked = root("a").extend(20)
    asked.node.echo(20, 20 + tokens, text)
    for more in (0, 30):
        prompt = asked.extend(tokens + more)
        rendered = json.loads(b'"' + b"".join(alphabet.render(prompt)) + b'"')
        assert len(tokenizer.encode(rendered, add_special_tokens=False).ids) == prompt.length


def test_a_reply_that_reads_as_it_came_is_sent_as_it_came(tmp_path: Path) -> None:
    path = word_level(tmp_path, WORDS)
    assert exact_text(path)(" bal bam ban", 3) == " bal bam ban"


def test_a_tokenizer_with_too_few_words_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="at least 64 are needed"):
        single_tokens(word_level(tmp_path, WORDS[:10]))


def test_a_file_that_is_no_tokenizer_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "tokenizer.json"
    path.write_text("{")
    with pytest.raises(ConfigError, match="cannot be read"):
        single_tokens(path)
