"""A short load of agents that no rate was fitted on: asked of the server, to be held against a prediction."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from swarm.context.tree import Node, Prompt
from swarm.fleet.rehearsal import Part, Played
from swarm.live.targets.openai import OpenAITarget
from swarm.live.targets.turn import Turn
from swarm.streams import stream

AGENTS = 8
TURNS = 6
FIRST_SHARE = 1 / 6
"""Of the longest prompt: the median of what agents start with; they share half of it."""
GROWTH_SHARE = 1 / 48
REPLY_TOKENS = 48
THINK_SHARE = 2.0
"""Mean think time, in times of a turn alone."""


def agents_of(seed: int, *, longest_tokens: int, pool_tokens: int | None, turn_s: float) -> list[list[Part]]:
    """Return agents' requests: contexts that grow, with thinks between; the same for a seed."""
    most = longest_tokens
    if pool_tokens is not None:
        most = min(most, int(0.8 * pool_tokens / AGENTS))
    shared = Prompt(Node("heldout"), max(16, int(most * FIRST_SHARE / 2)))
    agents = []
    for number in range(AGENTS):
        chance = stream(seed, "heldout", str(number))
        first, *grown = chance.lognormal(0.0, 0.6, TURNS)
        thinks_s = chance.exponential(THINK_SHARE * turn_s, TURNS)
        prompt = shared.branch(f"heldout/{number}").extend(max(16, int(first * most * FIRST_SHARE / 2)))
        parts = []
        for think_s, growth, reply in zip(
            thinks_s, [0.0, *grown], chance.integers(REPLY_TOKENS // 2, 2 * REPLY_TOKENS, TURNS), strict=True
        ):
            prompt = prompt.extend(int(growth * most * GROWTH_SHARE))
            if prompt.length + int(reply) > most:
                break
            parts.append(Part(float(think_s), prompt, int(reply)))
        agents.append(parts)
    return [parts for parts in agents if parts]


async def played(target: OpenAITarget, agents: Sequence[Sequence[Part]]) -> list[Played]:
    """Return what becomes of agents' requests on a server; failed ones are left out."""
    found = await asyncio.gather(*(_agent(target, k, parts) for k, parts in enumerate(agents)))
    return [each for group in found for each in group]


async def _agent(target: OpenAITarget, number: int, parts: Sequence[Part]) -> list[Played]:
    found = []
    for index, part in enumerate(parts):
        await asyncio.sleep(part.think_s)
        name = f"heldout/{number}"
        result = await target.send(
            Turn(
                prompt=part.prompt,
                output_tokens=part.output_tokens,
                agent=name,
                session=name,
                parent=None,
                request_id=f"{name}/{index}",
                keep_reply=False,
            )
        )
        first_s, sent_s, last_s = result.first_token_s, result.sent_s, result.last_token_s
        if result.outcome != "ok" or first_s is None or sent_s is None:
            continue
        more = (result.output_tokens or result.output_counted) - 1
        found.append(
            Played(
                ttft_s=first_s - sent_s,
                tpot_s=(last_s - first_s) / more if more > 0 and last_s is not None else None,
                cached_tokens=result.cached_tokens,
                prompt_tokens=result.prompt_tokens or part.prompt.length,
            )
        )
    return found
