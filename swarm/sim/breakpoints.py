"""What a client of `/v1/messages` asks the fleet to keep, and what that makes it write, as on the wire."""

from __future__ import annotations

from collections.abc import Callable

from swarm.config.target import TOOL_TOKENS_LEAST, TTLS_S, TargetConfig
from swarm.context.opening import opening
from swarm.context.tree import Prompt

Breakpoints = tuple[tuple[int, float], ...]
"""Tokens up to which, and seconds for which, a prompt is to be kept; in the order of the prompt."""
HOUR_S = TTLS_S["1h"]


def breakpoints_of(target: TargetConfig, least: int) -> Callable[[Prompt], Breakpoints] | None:
    """Return what places breakpoints in prompts, of `least` tokens or more; None where the API has none."""
    control = target.cache_control
    if target.api != "messages":
        return None
    ttls_s = [] if control is None else [None if ttl is None else TTLS_S[ttl] for _, ttl in control.ttls()]

    def place(prompt: Prompt) -> Breakpoints:
        tools, system = opening(prompt)
        if not target.tool_definition_tokens or tools < TOOL_TOKENS_LEAST:
            tools = 0
        # Without a system prompt or tools of its own, a prompt has nothing there that could be marked.
        ends = (tools, system if system > tools else 0, prompt.length)
        marked = zip(ends, ttls_s, strict=False)
        return tuple((end, ttl_s) for end, ttl_s in marked if end and end >= least and ttl_s)

    return place


def kept(breakpoints: Breakpoints) -> tuple[int, float]:
    """Return what a fleet keeps, and how long: of several TTLs the longest."""
    if not breakpoints:
        return 0, 0.0
    longest_s = max(ttl_s for _, ttl_s in breakpoints)
    return max(end for end, ttl_s in breakpoints if ttl_s == longest_s), longest_s


def written(breakpoints: Breakpoints, cached_tokens: int) -> tuple[int, int]:
    """Return the tokens that were in no cache and are kept now: for five minutes, for an hour."""
    found, at = {False: 0, True: 0}, cached_tokens
    for end, ttl_s in breakpoints:
        if end > at:
            found[ttl_s == HOUR_S] += end - at
            at = end
    return found[False], found[True]
