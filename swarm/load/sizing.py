"""A search sized for a server and a time: where it starts, how fast agents come, how long it looks."""

from __future__ import annotations

from dataclasses import dataclass

from swarm.config.load import SearchConfig
from swarm.config.workload import LognormalConfig, SyntheticConfig

AGENTS_DEFAULT = SyntheticConfig()
IDLE_CAP_S = 60.0
"""Longest think of the agents that are counted: one who is away for longer is not at work."""
RESULT_MOST, SUMMARY_MOST, BRIEF_MOST = 10_000.0, 8_000.0, 4_000.0
"""Longest tool results, summaries and reports: they pass an agent's watermark before it compacts, and must
fit the context as well. Of a hundred results one would be longer."""
TEXT_MARGIN = 0.03
"""By how much a server may count more tokens than were planned."""
CONTEXT_TOKENS_LEAST = 2_048
"""Agents that compact their context do not fit a shorter one."""
POOL_SHARE, PREFILL_SHARE = 0.65, 0.25
"""Of the agents whose contexts fill the KV memory, or whose new tokens fill the time: most servers hold so
many, and the search climbs from below."""
COLD_SHARE = 0.5
"""Of a server's time that the contexts of new agents take while they come."""
START_SHARE = 0.25
"""Of the time given, at most, until the first level is there."""
LOOKS = 15
"""Looks that the time is cut into, the ramps between them not counted."""
LOOK_SHARE_MAX = 0.2
TRIALS = 30
"""Requests that a look ought to see."""
GROWTH = 1.5


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of a server; None: nobody told."""

    context_tokens: int | None
    pool_tokens: int | None
    engines: int
    cold: tuple[tuple[int, float], ...]
    """Prompts of which nothing was cached: tokens, and seconds to the first token; ascending."""
    tpot_s: float | None

    def cold_s(self, tokens: float) -> float:
        """Return how long a prompt of so many new tokens takes alone; attention makes long ones take more."""
        if not self.cold:
            return tokens / 10_000.0
        length, seconds = self.cold[-1]
        paces = [took_s / tokens_of for tokens_of, took_s in self.cold]
        # Seconds a token grow with the length, as attention does: a line through shortest and longest.
        slope = 0.0
        if length > self.cold[0][0]:
            slope = max(0.0, (paces[-1] - paces[0]) / (length - self.cold[0][0]))
        return max(1e-9, tokens * (seconds / length + slope * (tokens - length)))


@dataclass(frozen=True, slots=True)
class Demand:
    """What one session with its sub-agents asks of a server, on average."""

    first_tokens: tuple[float, ...]
    """New tokens of each session's first prompt, what all of them share not counted."""
    context_tokens: float
    """Of a prompt."""
    requests_per_s: float
    new_tokens_per_s: float
    prompt_tokens_per_s: float
    output_tokens_per_s: float
    new_tokens: tuple[float, ...] = ()
    """Of each request but sessions' first ones, ascending; of these where there are no others."""

    def new_tokens_at(self, quantile: float) -> float:
        """Return a quantile of the new tokens of a request; of two that it lies between the lower one."""
        return self.new_tokens[int(quantile * (len(self.new_tokens) - 1))] if self.new_tokens else 0.0


@dataclass(frozen=True, slots=True)
class Size:
    """A search's start, and the reason in words."""

    agents_from: int
    why: str
    ramp_per_agent_s: float
    hold_s: float


def sized(known: Known, demand: Demand, *, time_s: float, agents_max: int) -> Size:
    """Return where a search of `time_s` seconds starts, and how it goes on."""
    first_s = sum(map(known.cold_s, demand.first_tokens)) / max(1, len(demand.first_tokens))
    each_s = max(0.02, first_s / COLD_SHARE / known.engines)
    starts = [(START_SHARE * time_s / each_s, "so many are there in a quarter of the time")]
    rate = demand.new_tokens_per_s * known.cold_s(1000.0) / 1000.0
    if rate > 0:
        starts.append(
            (PREFILL_SHARE * known.engines / rate, "their new tokens take a quarter of its prefill")
        )
    if known.pool_tokens is not None:
        fits = known.pool_tokens / max(1.0, demand.context_tokens)
        starts.append((POOL_SHARE * fits, "their contexts fill two thirds of its KV memory"))
    count, why = min(starts)
    agents = max(1, min(agents_max, round(count)))
    seen = TRIALS / max(1e-9, demand.requests_per_s * agents)
    hold_s = min(max(time_s / LOOKS, seen), LOOK_SHARE_MAX * time_s)
    return Size(agents, why, round(each_s, 3), round(hold_s, 1))


def search_config(size: Size, *, agents_max: int, confidence: float) -> SearchConfig:
    """Return the search."""
    return SearchConfig(
        agents_from=size.agents_from,
        agents_max=agents_max,
        answer="curve",
        growth=GROWTH,
        confidence=confidence,
        hold_min_s=size.hold_s,
        hold_max_s=size.hold_s,
        ramp_per_agent_s=size.ramp_per_agent_s,
        requests_min=10,
    )


def fitted_agents(context_tokens: int | None, *, agents_max: int) -> SyntheticConfig:
    """Return coding agents whose prompts and replies a server's context holds, cut down where it is short.

    Raises:
        ValueError: No agent that compacts its context fits.
    """
    whole = AGENTS_DEFAULT
    config = whole.model_copy(
        update={
            "idle_cap_s": IDLE_CAP_S,
            "warm_start": True,
            "warm_sessions": agents_max,
            "tool_result": whole.tool_result.model_copy(update={"most": RESULT_MOST}),
            "human_message": whole.human_message.model_copy(update={"most": RESULT_MOST}),
            "summary": whole.summary.model_copy(update={"most": SUMMARY_MOST}),
            "subagents": whole.subagents.model_copy(
                update={"brief_tokens": whole.subagents.brief_tokens.model_copy(update={"most": BRIEF_MOST})}
            ),
        }
    )
    if context_tokens is None:
        return config
    if context_tokens < CONTEXT_TOKENS_LEAST:
        raise ValueError(
            f"its context of {context_tokens:,} tokens is too short for agents that compact theirs: "
            f"{CONTEXT_TOKENS_LEAST:,} are needed; give a workload that fits: --workload FILE"
        )
    room = int(context_tokens * (1.0 - TEXT_MARGIN)) - _beyond(config)
    if room >= config.high_watermark // 2:
        # Agents as they are that compact somewhat earlier.
        return config.model_copy(update={"high_watermark": min(config.high_watermark, room)})
    return _shrunk(config, context_tokens)


def _beyond(config: SyntheticConfig) -> int:
    """Return by how much a prompt with its reply may pass the watermark.

    A compaction comes after a tool's result, or after all that sub-agents report, and asks for a summary.
    """
    reports = config.subagents.fan_out_max * config.subagents.brief_tokens.most
    return int(max(config.tool_result.most + reports, config.human_message.most) + config.summary.most) + 200


def _shrunk(config: SyntheticConfig, context_tokens: int) -> SyntheticConfig:
    """Return agents of which every length is shorter by one factor."""
    room = int(context_tokens * (1.0 - TEXT_MARGIN))
    factor = (room - 200) / (config.high_watermark + _beyond(config) - 200)
    longest = max(16, int(room / 16))
    return config.model_copy(
        update={
            "tool_tokens": int(config.tool_tokens * factor),
            "system_tokens": max(1, int(config.system_tokens * factor)),
            "first_context": _cut(config.first_context, factor),
            "tool_result": _cut(config.tool_result, factor),
            "human_message": _cut(config.human_message, factor),
            "output": _bounded(config.output, longest),
            "summary": _cut(config.summary, factor),
            "high_watermark": max(1_000, int(config.high_watermark * factor)),
            "subagents": config.subagents.model_copy(
                update={"brief_tokens": _cut(config.subagents.brief_tokens, factor)}
            ),
        }
    )


def _cut(lengths: LognormalConfig, factor: float) -> LognormalConfig:
    return LognormalConfig(
        median=max(1.0, lengths.median * factor),
        sigma=lengths.sigma,
        least=min(lengths.least, max(1.0, lengths.median * factor)),
        most=max(2.0, lengths.most * factor),
    )


def _bounded(lengths: LognormalConfig, most: int) -> LognormalConfig:
    median = min(lengths.median, most / 2)
    return LognormalConfig(
        median=median, sigma=lengths.sigma, least=min(lengths.least, median), most=min(lengths.most, most)
    )
