"""Clients that ask in rounds: each adds to its history and asks, and a round begins when the last has ended.

One session is one group of clients. Its orchestrator asks nothing: it starts each client's request of a round
as a sub-agent, whose turn is the round. Each of `load.agents` groups has a barrier of its own.
"""

from __future__ import annotations

from collections.abc import Generator
from functools import partial
from typing import Any

from swarm.config.workload import RoundsConfig
from swarm.context.tree import Prompt, root
from swarm.streams import stream
from swarm.workload.agent import SharedNodes, append_reply
from swarm.workload.effects import Agent, Effect, Infer, Join, Spawn, Think
from swarm.workload.think import lognormal


def session_agent(config: RoundsConfig, *, shared: SharedNodes, seed: int, session: str) -> Agent:
    """Return the orchestrator of a group of clients."""
    return Agent(session, session, None, "orchestrator", partial(rounds, config, shared, seed, session))


def rounds(
    config: RoundsConfig, shared: SharedNodes, seed: int, session: str
) -> Generator[Effect, Any, None]:
    """Start a request of every client, wait for all, and again."""
    prompts = [_opening(config, shared, f"{session}-{client}") for client in range(config.clients)]
    order = list(range(config.clients))
    for number in range(config.rounds):
        if config.order == "shuffled":
            order = stream(seed, "round", f"{session}/{number}").permutation(config.clients).tolist()
        paths = []
        for client in order:
            prompts[client] = prompts[client].extend(config.request_tokens)
            path = f"{session}/{number * config.clients + client}"
            make = partial(ask, config, seed, path, prompts[client], number)
            paths.append((yield Spawn(Agent(path, session, session, "client", make, number))))
        yield Join(tuple(paths))
        if config.replies != "none":
            prompts = [prompt.extend(config.output_tokens) for prompt in prompts]


def ask(
    config: RoundsConfig, seed: int, path: str, prompt: Prompt, number: int
) -> Generator[Effect, Any, None]:
    """Wait, and ask once."""
    think_s = float(lognormal(config.think_s, stream(seed, "think", path), 1)[0])
    if think_s:
        yield Think(think_s)
    echo = config.replies == "actual"
    inferred = yield Infer(prompt, config.output_tokens, echo, opened_by="human" if number else "start")
    if echo:
        append_reply(prompt, inferred, config.output_tokens)


def _opening(config: RoundsConfig, shared: SharedNodes, name: str) -> Prompt:
    if not config.shared_tokens:
        return root(name)
    node = shared.one(root(f"rounds/{config.shared_tokens}").node)
    return Prompt(node, config.shared_tokens).branch(name)
