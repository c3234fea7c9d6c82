"""How many tokens a server makes of the text that it is sent: measured before a run, from its usage."""

from __future__ import annotations

from dataclasses import dataclass

from swarm.config.target import TargetConfig
from swarm.context.tree import root
from swarm.live.targets.body import BYTES_PER_TOKEN
from swarm.live.targets.openai import OpenAITarget
from swarm.live.targets.turn import Turn

SHORT_TOKENS, LONG_TOKENS = 256, 2048
"""Planned lengths of the questions; the long one fits every model that agents use."""

OUTPUT_TOKENS = 1
RESPONSES_OUTPUT_TOKENS = 16
"""OpenAI takes no fewer there."""


@dataclass(frozen=True, slots=True)
class Fidelity:
    """A server counts `overhead_tokens`, and `tokens_per_word` for each word of 4 bytes that it is sent."""

    overhead_tokens: int
    tokens_per_word: float


def fit(short_counted: int, long_counted: int) -> Fidelity | None:
    """Return the line through both questions; None where the counts make no sense."""
    per_word = (long_counted - short_counted) / (LONG_TOKENS - SHORT_TOKENS)
    if not 0.25 <= per_word <= 4.0:
        return None
    return Fidelity(max(0, round(short_counted - per_word * SHORT_TOKENS)), per_word)


async def measured(config: TargetConfig) -> TargetConfig:
    """Return the target with what the configuration left open of its lengths: text asks the server.

    A server that does not answer, or reports no usage, is left at 4 bytes a token.
    """
    if config.api == "token_ids" or (config.bytes_per_token and config.overhead_tokens is not None):
        return config
    plain = config.model_copy(update={"bytes_per_token": BYTES_PER_TOKEN, "overhead_tokens": 0})
    target = OpenAITarget(config=plain, seed=0)
    try:
        output_tokens = RESPONSES_OUTPUT_TOKENS if config.api == "responses" else OUTPUT_TOKENS
        counts = [await _count(target, tokens, output_tokens) for tokens in (SHORT_TOKENS, LONG_TOKENS)]
    finally:
        await target.close()
    short, long = counts
    found = None if short is None or long is None else fit(short, long)
    known = found or Fidelity(0, 1.0)
    overhead, scale = config.overhead_tokens, config.bytes_per_token
    return config.model_copy(
        update={
            "overhead_tokens": known.overhead_tokens if overhead is None else overhead,
            "bytes_per_token": scale or BYTES_PER_TOKEN / known.tokens_per_word,
        }
    )


async def _count(target: OpenAITarget, tokens: int, output_tokens: int) -> int | None:
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
    return result.prompt_tokens if result.outcome == "ok" else None
