"""A server looked at before it is loaded: what it says of itself, and what a few requests show of its pace.

Knows: doors, a few turns one after the other. Does not know: load, searches.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from swarm.config.target import TargetConfig
from swarm.context.tree import root
from swarm.errors import RunError
from swarm.live.preflight import Stage, Tried, tried, waited
from swarm.live.targets.facts import ReplyFacts, ServerFacts, reply_facts, server_facts
from swarm.live.targets.openai import OpenAITarget
from swarm.live.targets.turn import Turn, TurnResult
from swarm.load.sizing import Known

SHORT_TOKENS, LONG_TOKENS = 2_048, 32_768
"""New tokens of the prompts that a pace is read off, where the context and the server's speed allow it."""
LONG_S = 10.0
"""How long the long prompt may take, by the short one's speed."""
REPLY_TOKENS = 32
EXACT = "set target.exact_output: false"
"""What the remedy for a server that refuses lengths says."""
_LENGTH_MEMBER = re.compile(r"set target\.max_tokens_member: (\w+)")
LEARNED = ("exact_output", "max_tokens_member")
"""Settings that a look finds by trying, where they are left open."""


@dataclass(frozen=True, slots=True)
class Looked:
    """A server that has answered."""

    tried: Tried
    facts: ServerFacts
    reply: ReplyFacts
    known: Known
    seconds: tuple[float | None, float | None]
    """To the first token of the short prompt, and between the tokens of its reply."""


def look_at(
    target: TargetConfig, *, nonce: str, heed: Callable[[], None], note: Callable[[str], None]
) -> Looked:
    """Return what is learned of a target; it sees some five requests, one at a time.

    Raises:
        RunError: It cannot be used, in its own words.
    """
    while True:
        try:
            found = tried(target, heed=heed, note=note)
            break
        except RunError as fault:
            changed = _mended(target, str(fault), note)
            if changed is None:
                raise
            target = changed
    stage = Stage(f"{found.target.urls[0]} to be looked at")
    return waited(_looked(found, nonce), heed=heed, note=note, stage=stage)


def _mended(target: TargetConfig, words: str, note: Callable[[str], None]) -> TargetConfig | None:
    """Return the target with the setting that a refusal asks for; None where it asks for none, or again."""
    if EXACT in words and target.exact_output:
        note("it refuses min_tokens and ignore_eos: replies end where the model ends them")
        return target.model_copy(update={"exact_output": False})
    member = _LENGTH_MEMBER.search(words)
    if member is not None and target.max_tokens_member is None:
        note(f"it calls a reply's length {member[1]}")
        return target.model_copy(update={"max_tokens_member": member[1]})
    return None


async def _looked(found: Tried, nonce: str) -> Looked:
    facts = await server_facts(found.target)
    reply = await reply_facts(found.target, facts, nonce=nonce)
    target = OpenAITarget(config=found.target, seed=0, run_id=f"{nonce}-pace")
    try:
        results = await _paced(target, facts.context_tokens)
    finally:
        await target.close()
    cold = tuple((_computed(tokens, result), _ttft_s(result)) for tokens, result in results)
    sent = found.prompt_tokens + sum(tokens for tokens, _ in results)
    first = results[0][1]
    known = Known(
        context_tokens=facts.context_tokens,
        pool_tokens=facts.pool_tokens,
        engines=facts.engines or len(found.target.urls),
        cold=tuple((tokens, seconds) for tokens, seconds in cold if seconds is not None),
        tpot_s=_tpot_s(first),
    )
    requests = found.requests + len(results) + 2
    return Looked(
        Tried(found.target, requests, sent, found.notes),
        facts,
        reply,
        known,
        (_ttft_s(first), _tpot_s(first)),
    )


async def _paced(target: OpenAITarget, context_tokens: int | None) -> list[tuple[int, TurnResult]]:
    """Send a short new prompt and a long one."""
    room = context_tokens or 2 * SHORT_TOKENS
    short = max(1, min(SHORT_TOKENS, room // 4))
    results = [(short, await _send(target, "short", short))]
    took_s = _ttft_s(results[0][1])
    if context_tokens is not None and took_s:
        long = int(min(LONG_TOKENS, context_tokens // 2, short * LONG_S / took_s))
        if long >= 2 * short:
            results.append((long, await _send(target, "long", long)))
    return results


async def _send(target: OpenAITarget, name: str, tokens: int) -> TurnResult:
    turn = Turn(
        prompt=root(f"pace/{name}").extend(tokens),
        output_tokens=REPLY_TOKENS,
        agent="pace",
        session="pace",
        parent=None,
        request_id=f"pace/{name}",
        keep_reply=False,
    )
    result = await target.send(turn)
    if result.outcome != "ok":
        raise RunError(f"one request of {tokens:,} tokens ended as {result.outcome}: {result.error}")
    return result


def _computed(tokens: int, result: TurnResult) -> int:
    return max(1, (result.prompt_tokens or tokens) - (result.cached_tokens or 0))


def _ttft_s(result: TurnResult) -> float | None:
    if result.first_token_s is None or result.sent_s is None:
        return None
    return result.first_token_s - result.sent_s


def _tpot_s(result: TurnResult) -> float | None:
    count = result.output_tokens or result.output_counted
    if count < 2 or result.last_token_s is None or result.first_token_s is None:
        return None
    return (result.last_token_s - result.first_token_s) / (count - 1)
