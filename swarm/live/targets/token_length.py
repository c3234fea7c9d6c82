"""How many tokens a server makes of the text that it is sent: measured before a run, from its usage."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from swarm.config.target import TargetConfig
from swarm.context.tree import root
from swarm.live.targets.body import BYTES_PER_TOKEN
from swarm.live.targets.openai import OpenAITarget
from swarm.live.targets.turn import Turn

SHORT_TOKENS, LONG_TOKENS = 256, 2048
"""Planned lengths of the questions; the long one fits every model that agents use."""
REPLY_TOKENS = 1


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


@dataclass(frozen=True, slots=True)
class Counted:
    """What came of one question."""

    planned_tokens: int
    prompt_tokens: int | None
    """As the server counts them; None where it does not, or has refused."""
    outcome: str
    status: int | None
    error: str | None
    """The server's words; None where it answered."""


async def measured(config: TargetConfig) -> TargetConfig:
    """Return the target with what the configuration left open of its lengths: text asks the server.

    A server that does not answer, or reports no usage, is left at 4 bytes a token.
    """
    if _is_known(config):
        return config
    return scaled(config, await counted(config, both=True))


async def counted(config: TargetConfig, *, both: bool) -> list[Counted]:
    """Send the short question, and with `both` the long one where lengths are open; a refusal ends it."""
    plain = config
    if not _is_known(config):
        plain = config.model_copy(update={"bytes_per_token": BYTES_PER_TOKEN, "overhead_tokens": 0})
    lengths = (SHORT_TOKENS, LONG_TOKENS) if both and not _is_known(config) else (SHORT_TOKENS,)
    target = OpenAITarget(config=plain, seed=0)
    found: list[Counted] = []
    try:
        for tokens in lengths:
            found.append(await _count(target, tokens))
            if found[0].error is not None:
                break
    finally:
        await target.close()
    return found


def scaled(config: TargetConfig, found: Sequence[Counted]) -> TargetConfig:
    """Return the target with the lengths that the answers tell, where they were left open."""
    if _is_known(config):
        return config
    counts = {each.planned_tokens: each.prompt_tokens for each in found}
    short, long = counts.get(SHORT_TOKENS), counts.get(LONG_TOKENS)
    fitted = None if short is None or long is None else fit(short, long)
    known = fitted or Fidelity(0, 1.0)
    overhead, scale = config.overhead_tokens, config.bytes_per_token
    return config.model_copy(
        update={
            "overhead_tokens": known.overhead_tokens if overhead is None else overhead,
            "bytes_per_token": scale or BYTES_PER_TOKEN / known.tokens_per_word,
        }
    )


def _is_known(config: TargetConfig) -> bool:
    return config.api == "token_ids" or bool(config.bytes_per_token and config.overhead_tokens is not None)


async def _count(target: OpenAITarget, tokens: int) -> Counted:
    """Return how many tokens the server counts in a prompt of `tokens` words."""
    name = f"fidelity/{tokens}"
    turn = Turn(
        prompt=root(name).extend(tokens),
        output_tokens=REPLY_TOKENS,
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
        outcome=result.outcome,
        status=result.http_status,
        error=None if is_ok else result.error or result.outcome,
    )
