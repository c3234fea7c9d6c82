"""How many tokens a server makes of the text that it is sent: measured before a run, from its usage."""

from __future__ import annotations

from dataclasses import dataclass
from time import time_ns

from swarm.config.target import TargetConfig
from swarm.context.tree import root
from swarm.errors import RunError
from swarm.live.targets.body import BYTES_PER_TOKEN
from swarm.live.targets.openai import OpenAITarget
from swarm.live.targets.turn import Turn, TurnResult

SHORT_TOKENS, LONG_TOKENS = 256, 2048
"""Planned lengths of the questions, where a model takes them; see `lengths_of`."""
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


async def measured(config: TargetConfig) -> TargetConfig:
    """Return the target with what the configuration left open of its lengths: text asks the server.

    A server that does not answer, or reports no usage, is left at 4 bytes a token.

    Raises:
        RunError: The server's cache finds one question in the other: it tells their words not apart.
    """
    if config.api == "token_ids" or (config.bytes_per_token and config.overhead_tokens is not None):
        return config
    plain = config.model_copy(update={"bytes_per_token": BYTES_PER_TOKEN, "overhead_tokens": 0})
    # Of this moment alone: what the questions of an earlier run left in the cache must not hit.
    target = OpenAITarget(config=plain, seed=0, run_id=f"fidelity/{time_ns()}")
    try:
        lengths = lengths_of(config)
        output_tokens = RESPONSES_OUTPUT_TOKENS if config.api == "responses" else OUTPUT_TOKENS
        answers = [await _ask(target, tokens, output_tokens) for tokens in lengths]
    finally:
        await target.close()
    _check_apart(*answers)
    short, long = (answer.prompt_tokens if answer.outcome == "ok" else None for answer in answers)
    found = None if short is None or long is None else fit((short, long), lengths)
    known = found or Fidelity(0, 1.0)
    overhead, scale = config.overhead_tokens, config.bytes_per_token
    return config.model_copy(
        update={
            "overhead_tokens": known.overhead_tokens if overhead is None else overhead,
            "bytes_per_token": scale or BYTES_PER_TOKEN / known.tokens_per_word,
        }
    )


def _check_apart(short: TurnResult, long: TurnResult) -> None:
    """Refuse a tokenizer that makes the same tokens of both questions, which share no word but by chance."""
    counted, cached = short.prompt_tokens or 0, long.cached_tokens or 0
    if cached >= COLLAPSED_TOKENS and cached > counted * COLLAPSED_SHARE:
        raise RunError(
            f"target: the server found {cached:,} tokens of a new prompt in its cache: its tokenizer knows "
            "none of the words that are sent and makes one unknown token of all, so that all prompts look "
            "alike to its cache; set target.api: token_ids, or target.tokenizer to its tokenizer.json"
        )


async def _ask(target: OpenAITarget, tokens: int, output_tokens: int) -> TurnResult:
    """Send a prompt of `tokens` words of its own."""
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
    return await target.send(turn)
