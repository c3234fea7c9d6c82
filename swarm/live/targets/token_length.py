"""How many tokens a server makes of the text that it is sent: measured before a run, from its usage."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from time import time_ns

from swarm.config.target import TargetConfig
from swarm.context.tree import root
from swarm.errors import RunError
from swarm.live.targets.body import BYTES_PER_TOKEN
from swarm.live.targets.openai import OpenAITarget
from swarm.live.targets.turn import Turn

SHORT_TOKENS, LONG_TOKENS = 256, 2048
"""Planned lengths of the questions, where a model takes them; see `lengths_of`."""
LONGER = 2
"""The long one is this many times the short one, or it tells nothing."""
REFUSED = "http_4xx"
COLLAPSED_TOKENS, COLLAPSED_SHARE = 32, 0.6
"""What chat templates put before a prompt is shared by all, and is shorter."""

OUTPUT_TOKENS = 1
RESPONSES_OUTPUT_TOKENS = 16
"""OpenAI takes no fewer there."""


@dataclass(frozen=True, slots=True)
class Fidelity:
    """A server counts `overhead_tokens`, and `tokens_per_word` for each word of 4 bytes that it is sent."""

    overhead_tokens: int
    tokens_per_word: float


def lengths_of(config: TargetConfig) -> tuple[int, int]:
    """Return the questions' lengths: a word may be up to two tokens, and a reply needs its own."""
    long_tokens = min(LONG_TOKENS, (config.context_tokens or 2 * LONG_TOKENS) // 2)
    return max(1, long_tokens * SHORT_TOKENS // LONG_TOKENS), max(2, long_tokens)


def fit(counted: tuple[int, int], lengths: tuple[int, int]) -> Fidelity | None:
    """Return the line through both questions; None where the counts make no sense."""
    short, long = lengths
    per_word = (counted[1] - counted[0]) / (long - short)
    if not 0.25 <= per_word <= 4.0:
        return None
    return Fidelity(max(0, round(counted[0] - per_word * short)), per_word)


@dataclass(frozen=True, slots=True)
class Counted:
    """What came of one question."""

    planned_tokens: int
    prompt_tokens: int | None
    """As the server counts them; None where it does not, or has refused."""
    cached_tokens: int | None
    outcome: str
    status: int | None
    error: str | None
    """The server's words; None where it answered."""


async def measured(config: TargetConfig) -> TargetConfig:
    """Return the target with what the configuration left open of its lengths: text asks the server.

    A server that does not answer, or reports no usage, is left at 4 bytes a token.

    Raises:
        RunError: The server's cache finds one question in the other: it tells their words not apart.
    """
    if _is_known(config):
        return config
    return scaled(config, await counted(config, both=True))


async def counted(config: TargetConfig, *, both: bool) -> list[Counted]:
    """Send the short question, and with `both` the long one where lengths are open.

    A refused short one ends it. A long one that the server refuses is sent again half as long: what it counts
    of a word may be more than was thought.
    """
    plain = config
    if not _is_known(config):
        plain = config.model_copy(update={"bytes_per_token": BYTES_PER_TOKEN, "overhead_tokens": 0})
    short, long = lengths_of(config)
    # Of this moment alone: what the questions of an earlier run left in the cache must not hit.
    target = OpenAITarget(config=plain, seed=0, run_id=f"fidelity/{time_ns()}")
    output_tokens = RESPONSES_OUTPUT_TOKENS if config.api == "responses" else OUTPUT_TOKENS
    found: list[Counted] = []
    try:
        found.append(await _count(target, short, output_tokens))
        is_asked = found[0].error is None and both and not _is_known(config)
        while is_asked and long >= LONGER * short:
            found.append(await _count(target, long, output_tokens))
            is_asked = found[-1].outcome == REFUSED
            long //= 2
    finally:
        await target.close()
    return found


def scaled(config: TargetConfig, found: Sequence[Counted]) -> TargetConfig:
    """Return the target with the lengths that the answers tell, where they were left open.

    Raises:
        RunError: The server's cache finds one question in the other: it tells their words not apart.
    """
    if _is_known(config):
        return config
    answers = {each.planned_tokens: each for each in found if each.error is None}
    fitted = None
    if len(answers) > 1:
        short, long = answers[min(answers)], answers[max(answers)]
        _check_apart(short, long)
        if short.prompt_tokens is not None and long.prompt_tokens is not None:
            fitted = fit((short.prompt_tokens, long.prompt_tokens), (min(answers), max(answers)))
    known = fitted or Fidelity(0, 1.0)
    overhead, scale = config.overhead_tokens, config.bytes_per_token
    return config.model_copy(
        update={
            "overhead_tokens": known.overhead_tokens if overhead is None else overhead,
            "bytes_per_token": scale or BYTES_PER_TOKEN / known.tokens_per_word,
        }
    )


def _check_apart(short: Counted, long: Counted) -> None:
    """Refuse a tokenizer that makes the same tokens of both questions, which share no word but by chance.

    The long one then hits most of the short one, or most of itself where an earlier run sent as much. Any
    other count is the server's own affair: some report a share of each prompt, whatever they held.
    """
    cached = long.cached_tokens or 0
    wholes = (short.prompt_tokens or 0, long.prompt_tokens or 0)
    is_whole = any(whole * COLLAPSED_SHARE < cached <= whole for whole in wholes)
    if cached >= COLLAPSED_TOKENS and is_whole:
        raise RunError(
            f"target: the server found {cached:,} tokens of a new prompt in its cache: its tokenizer knows "
            "none of the words that are sent and makes one unknown token of all, so that all prompts look "
            "alike to its cache; set target.api: token_ids, or target.tokenizer to its tokenizer.json"
        )


def _is_known(config: TargetConfig) -> bool:
    return config.api == "token_ids" or bool(config.bytes_per_token and config.overhead_tokens is not None)


async def _count(target: OpenAITarget, tokens: int, output_tokens: int) -> Counted:
    """Return how many tokens the server counts in a prompt of `tokens` words."""
    name = f"fidelity/{tokens}"
    turn = Turn(
        prompt=root(name).extend(tokens),
        output_tokens=output_tokens,
        agent=name,
        session=name,
        parent=None,
        request_id=name,
        keep_reply=False,
    )
    result = await target.send(turn)
    is_ok = result.outcome == "ok"
    return Counted(
        planned_tokens=tokens,
        prompt_tokens=result.prompt_tokens if is_ok else None,
        cached_tokens=result.cached_tokens if is_ok else None,
        outcome=result.outcome,
        status=result.http_status,
        error=None if is_ok else result.error or result.outcome,
    )
