"""Questions to servers that answer them as badly as can be: words, in bounded time and memory."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Callable, Coroutine, Iterator
from itertools import product
from typing import Any

import hostile_cases
import pytest
from memory import Peak

from swarm.config.target import TargetConfig
from swarm.errors import RunError
from swarm.live.targets import control

SHORT_S = 0.4
MEMORY_BYTES_MAX = 100e6
QUESTIONS = hostile_cases.QUESTIONS
ENDLESS = [name for name, case in QUESTIONS.items() if case.act in ("silence", "drip")]
"""These take until the timeout, and are asked all at once."""


async def models(config: TargetConfig) -> str:
    """Return the model's name, or why there is none."""
    try:
        return str((await control.resolve(config)).model)
    except RunError as error:
        return str(error)


async def counters(config: TargetConfig) -> str:
    """Return what was counted, or why it is unknown."""
    notes: list[str] = []
    found = await control.server_counters(config, notes.append)
    return str(found) if found is not None else "".join(notes) or "unknown"


async def occupancy(config: TargetConfig) -> str:
    """Return how full the servers' memory is."""
    return str(await control.occupancy(config))


async def caches(config: TargetConfig) -> str:
    """Return whether the caches were emptied."""
    return str(await control.forgets(config))


ASK: dict[str, Callable[[TargetConfig], Coroutine[Any, Any, str]]] = {
    "models": models,
    "counters": counters,
    "occupancy": occupancy,
    "caches": caches,
}


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    """Where all cases are served."""
    script = [sys.executable, hostile_cases.__file__]
    with subprocess.Popen(script, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        yield int(server.stdout.readline())
        server.kill()


async def asked(port: int, name: str, question: str) -> str:
    return await ASK[question](TargetConfig(urls=(hostile_cases.base(port, name),)))


def asked_at_once(port: int, names: list[str]) -> dict[str, dict[str, str]]:
    """Return what each case says to each question, all of them asked at the same time."""
    pairs = list(product(names, ASK))

    async def main() -> list[str]:
        async with asyncio.timeout(60):
            return await asyncio.gather(*(asked(port, *pair) for pair in pairs))

    said = asyncio.run(main())
    return {
        name: {question: words for (one, question), words in zip(pairs, said, strict=True) if one == name}
        for name in names
    }


@pytest.fixture(scope="module")
def quick(port: int) -> dict[str, dict[str, str]]:
    """What those say that neither wait nor go on for ever."""
    return asked_at_once(port, [name for name, case in QUESTIONS.items() if case.act in ("close", "reset")])


def check(name: str, said: dict[str, str]) -> None:
    """Hold what was said against the case."""
    is_page = QUESTIONS[name].outcome == "expected a list"
    assert said["occupancy"] == "None"
    assert said["caches"] == str(is_page), "an answer of no bytes is one"
    assert all(len(text) <= 2000 and text.isprintable() for text in said.values())
    assert QUESTIONS[name].outcome in said["models"]
    assert said["counters"] == "unknown" or "are left aside: GET http://" in said["counters"]


def test_silence_and_drips_end_in_time(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control, "TIMEOUT_S", SHORT_S)
    late = f"not complete within {SHORT_S} s"
    for name, said in asked_at_once(port, ENDLESS).items():
        assert (late in said["models"], late in said["counters"]) == (True, True), name
        assert (said["occupancy"], said["caches"]) == ("None", "False"), name


@pytest.mark.parametrize("name", [name for name, case in QUESTIONS.items() if case.act in ("close", "reset")])
def test_an_answer_that_breaks_off_is_told_in_words(quick: dict[str, dict[str, str]], name: str) -> None:
    check(name, quick[name])


@pytest.mark.parametrize("name", [name for name, case in QUESTIONS.items() if case.act == "flood"])
def test_an_answer_without_end_is_bounded_and_told_in_words(port: int, name: str) -> None:
    peak = Peak()
    peak.start()
    said = {question: asyncio.run(asked(port, name, question)) for question in ASK}
    assert peak.stop() < MEMORY_BYTES_MAX
    check(name, said)


ANSWERS: dict[str, tuple[Any, str]] = {
    "a list": ([], "expected a list of models"),
    "a number": (7, "expected a list of models"),
    "no data": ({}, "expected a list of models"),
    "data of no kind": ({"data": 7}, "expected a list of models"),
    "no model": ({"data": []}, "lists no model"),
    "a model of no kind": ({"data": [7]}, "expected a list of models"),
    "an id that is a number": ({"data": [{"id": 7}]}, "expected a list of models"),
    "an id that is nested": ({"data": [{"id": [[[]]]}]}, "expected a list of models"),
    "a long id": ({"data": [{"id": "x" * 1_500_000}]}, "names its model by 1,500,000 characters"),
    "an id that is no text": ({"data": [{"id": "a\n\x1b[2J"}]}, "cannot all be printed"),
    "half a surrogate pair": ({"data": [{"id": "\ud800"}]}, "cannot all be printed"),
    "an id of 5 MB": ({"data": [{"id": "x" * 5_000_000}]}, "over 2,097,152 bytes"),
    "many models": ({"data": [{"id": "m"}] * 100_000}, "m"),
}


def page(body: bytes) -> hostile_cases.Case:
    head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body)
    return hostile_cases.Case(head + body, "close", b"", "")


def answered(body: bytes, question: str) -> str:
    """Return what comes of a question whose answer has this body."""

    async def main() -> str:
        found = {"page": page(body)}
        server = await asyncio.start_server(
            lambda reader, writer: hostile_cases.answer(reader, writer, found), "127.0.0.1", 0
        )
        async with server:
            return await asked(server.sockets[0].getsockname()[1], "page", question)

    return asyncio.run(main())


@pytest.mark.parametrize("name", ANSWERS)
def test_a_list_of_models_that_makes_no_sense_is_told_in_words(name: str) -> None:
    value, words = ANSWERS[name]
    said = answered(json.dumps(value).encode(), "models")
    assert words in said
    assert len(said) < 2000


@pytest.mark.parametrize(
    "body",
    [b'{"data":' + b"[" * 200_000, b"[" * 500_000 + b"]" * 500_000, b"\xff\xfe", b"", b'{"data":' * 100_000],
)
def test_what_is_no_json_is_told_in_words(body: bytes) -> None:
    assert "expected a list of models" in answered(body, "models")


HITS, QUERIES = 'vllm:prefix_cache_hits_total{engine="0"} ', "vllm:prefix_cache_queries_total 10\n"


@pytest.mark.parametrize("value", ["1e308", "-1", "NaN", "+Inf", "-Inf", "1e16", "9" * 5000, "zero", "0x10"])
def test_a_counter_that_is_no_count_is_named(value: str) -> None:
    said = answered(f"{QUERIES}{HITS}{value}\n".encode(), "counters")
    assert f"vllm:prefix_cache_hits: found {value[:40]}; a count of tokens is expected" in said


@pytest.mark.parametrize(
    "text",
    [
        f"{QUERIES}{HITS}9e15\n{HITS}9e15\n",
        f"{QUERIES}{HITS}5\n" + "vllm:generation_tokens_total 1e308\n",
    ],
)
def test_a_sum_that_is_no_count_is_named(text: str) -> None:
    assert "a count of tokens is expected" in answered(text.encode(), "counters")


@pytest.mark.parametrize(
    "text",
    ["", "{" * 1_000_000, "vllm:prefix_cache_hits_total{" + "}" * 1_000_000, "a 1\n" * 1_000_000,
     "\n".join(f"name{k} 1" for k in range(300_000)), "\N{OLD ITALIC LETTER A}" * 1_000_000],
    ids=["empty", "open braces", "close braces", "lines", "names", "wide letters"],
)  # fmt: skip
def test_a_page_of_nothing_known_is_read_in_bounds(text: str) -> None:
    peak = Peak()
    peak.start()
    said = answered(text.encode(), "counters"), answered(text.encode(), "occupancy")
    assert peak.stop() < MEMORY_BYTES_MAX
    assert said == ("unknown", "None")
