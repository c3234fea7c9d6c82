"""A fixed set of prompts, asked again and again: in order, or drawn at random.

Session `index` takes the set's next `turns` places: request `index * turns + j` of the run is its turn j. So
a static load walks the set in one global order, whatever the number of agents or hosts, and a session is a
name for a few requests. The think time follows each request.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from functools import partial
from itertools import repeat
from typing import Any

from swarm.config.workload import PromptSetConfig
from swarm.context.tree import Prompt, root
from swarm.streams import digest64, stream
from swarm.workload.agent import SharedNodes
from swarm.workload.effects import Agent, Effect, Infer, Think
from swarm.workload.think import lognormal

DRAWN_AHEAD = 64


def session_agent(
    config: PromptSetConfig, *, shared: SharedNodes, seed: int, session: str, index: int
) -> Agent:
    """Return the agent that asks session `index`'s prompts."""
    make = partial(asker, config, shared, seed, session, index)
    return Agent(session, session, None, "orchestrator", make)


def asker(
    config: PromptSetConfig, shared: SharedNodes, seed: int, session: str, index: int
) -> Generator[Effect, Any, None]:
    """Ask each prompt and wait."""
    thinks = _thinks(config, seed, session)
    for turn in range(config.turns):
        number = prompt_index(config, seed, index * config.turns + turn)
        prompt = prompt_of(config, shared, number, session, turn)
        yield Infer(prompt, config.output_tokens, False, opened_by="start" if turn == 0 else "tool")
        yield Think(next(thinks))


def _thinks(config: PromptSetConfig, seed: int, session: str) -> Iterator[float]:
    """Yield think times without end."""
    think = config.think_s
    if think.sigma == 0:
        yield from repeat(min(max(think.median, think.least), think.most))
    generator = stream(seed, "think", session)
    while True:
        yield from lognormal(config.think_s, generator, min(config.turns, DRAWN_AHEAD)).tolist()


def prompts_at(config: PromptSetConfig, request: int) -> int:
    """Return how many prompts the set has at the run's request of that number: it grows in steps."""
    growth = config.grows
    if growth is None:
        return config.prompts
    return min(config.prompts, growth.first + growth.step * (request // growth.every_requests))


def prompt_index(config: PromptSetConfig, seed: int, request: int) -> int:
    """Return which prompt the run's request of that number asks."""
    count = prompts_at(config, request)
    if config.order == "sequential":
        return request % count
    return digest64(f"{seed}/prompt/{request}") % count


def prompt_of(config: PromptSetConfig, shared: SharedNodes, number: int, session: str, turn: int) -> Prompt:
    """Return prompt `number` of the set, its last `new_share` replaced by tokens that only this turn has."""
    new_tokens = min(round(config.prompt_tokens * config.new_share), config.prompt_tokens)
    kept_tokens = config.prompt_tokens - new_tokens
    if not kept_tokens:
        return root(f"{session}#{turn}").extend(new_tokens)
    whose = f"{session}/" if config.own else ""
    kept = Prompt(shared.one(root(f"prompt/{whose}{config.prompt_tokens}/{number}").node), kept_tokens)
    return kept.branch(f"{session}#{turn}").extend(new_tokens) if new_tokens else kept
