"""Where sessions come from."""

import re
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, JsonValue, field_validator, model_validator

from swarm.config.strict import Strict


class LognormalConfig(Strict):
    """A lognormal by its median and the sigma of its logarithm, cut to [least, most]; or one number."""

    median: float = Field(ge=0, description="half of the draws lie below; 0: every draw is 0, or `least`")
    sigma: float = Field(ge=0, description="of the logarithm; 0: every draw is the median")
    least: float = Field(0.0, ge=0, description="draws below are set to it")
    most: float = Field(1e12, ge=0, description="draws above are set to it")

    @model_validator(mode="before")
    @classmethod
    def _number(cls, data: Any) -> Any:
        """A number stands for a distribution that always gives it."""
        is_number = isinstance(data, int | float) and not isinstance(data, bool)
        return {"median": data, "sigma": 0.0} if is_number else data

    @model_validator(mode="after")
    def _bounded(self) -> Self:
        if self.least > self.most:
            raise ValueError(f"least: {self.least:g} is more than most: {self.most:g}")
        return self


class HumanWaitConfig(Strict):
    """A mixture: mostly lognormal, with probability `tail_share` a Pareto tail from `tail_from_s`."""

    body: LognormalConfig = Field(
        LognormalConfig(median=60.0, sigma=1.2, least=2.0),
        description="waits that are not of the tail, in seconds",
    )
    tail_share: float = Field(0.1, ge=0, le=1, description="share of waits that are of the tail")
    tail_from_s: float = Field(600.0, gt=0, description="least wait of the tail")
    tail_alpha: float = Field(1.1, gt=0, description="exponent of the Pareto tail; heavier the smaller it is")


class SubagentConfig(Strict):
    """When and how an orchestrator delegates."""

    chance_per_turn: float = Field(0.04, ge=0, le=1, description="that a turn of the orchestrator delegates")
    fan_out_max: int = Field(3, ge=1, le=64, description="sub-agents of one delegation")
    overlap_share: float = Field(
        0.5, ge=0, le=1, description="share of groups that run beside their parent, unjoined"
    )
    long_lived: int = Field(1, ge=0, le=16, description="sub-agents kept for a session and asked again")
    long_lived_share: float = Field(
        0.3, ge=0, le=1, description="share of delegations that go to a long-lived one"
    )
    turns: LognormalConfig = Field(
        LognormalConfig(median=6, sigma=0.7, least=1, most=100), description="of one sub-agent"
    )
    brief_tokens: LognormalConfig = Field(
        LognormalConfig(median=1200, sigma=0.6, least=100, most=20_000),
        description="tokens of the task that it is given",
    )


class SyntheticConfig(Strict):
    """A coding agent from stated distributions; lengths in tokens, times in seconds."""

    kind: Literal["synthetic"] = "synthetic"
    tool_tokens: int = Field(12_000, ge=0, description="tool definitions, shared by all agents of a role")
    system_tokens: int = Field(3_000, ge=1, description="system prompt, shared by all agents of a role")
    first_context: LognormalConfig = Field(
        LognormalConfig(median=8_000, sigma=0.8, least=200, most=200_000),
        description="tokens after the shared prefix in a session's first request",
    )
    turns: LognormalConfig = Field(
        LognormalConfig(median=60, sigma=0.8, least=2, most=1000),
        description="of one agent, sub-agents apart",
    )
    turns_per_request: float = Field(8.0, ge=1, description="mean tool turns between a person's messages")
    tool_result: LognormalConfig = Field(
        LognormalConfig(median=500, sigma=1.2, least=10, most=40_000),
        description="tokens that a tool's result adds",
    )
    human_message: LognormalConfig = Field(
        LognormalConfig(median=150, sigma=1.0, least=5, most=20_000),
        description="tokens that a person's message adds",
    )
    output: LognormalConfig = Field(
        LognormalConfig(median=200, sigma=0.9, least=8, most=8_000), description="tokens of a reply"
    )
    tool_think_s: LognormalConfig = Field(
        LognormalConfig(median=11.0, sigma=0.8, least=1.0, most=600.0), description="how long a tool runs"
    )
    human_wait: HumanWaitConfig = Field(HumanWaitConfig(), description="how long a person lets an agent wait")
    idle_cap_s: float | None = Field(None, ge=0, description="longest think of any kind; null: none")
    high_watermark: int = Field(160_000, ge=1_000, description="context at which an agent compacts")
    summary: LognormalConfig = Field(
        LognormalConfig(median=3_000, sigma=0.4, least=200, most=16_000),
        description="tokens of a compaction's summary",
    )
    warm_start: bool = Field(False, description="sessions start at a random point of their life")
    warm_sessions: int | None = Field(
        None,
        ge=1,
        description="of warm_start: only the run's first so many sessions, as many as there are slots "
        "(load.agents; a search's agents_max), so that those that follow them begin at their beginning; "
        "null: all",
    )
    replies: Literal["actual", "planned"] = Field(
        "actual", description="what contexts hold: what the model answered, or text of the planned length"
    )
    subagents: SubagentConfig = SubagentConfig()


class ReplayConfig(Strict):
    """Recorded sessions, played again."""

    kind: Literal["replay"] = "replay"
    path: Path = Field(description="a file or a folder of traces")
    format: str = Field("auto", description="of the traces; auto: by their content; `swarm catalog formats`")
    timing: Literal["think-only", "original", "api-scaled"] = Field(
        "think-only",
        description="when a turn is due: after a recorded think time, or as recorded from start to start",
    )
    api_scale: float = Field(
        1.0, ge=0, description="factor on recorded service times, of `timing: api-scaled`"
    )
    time_scale: float = Field(1.0, ge=0, description="factor on think times and recorded differences")
    idle_cap_s: float | None = Field(None, ge=0, description="longest think of any kind; null: none")
    session_idle_cap_s: float | None = Field(
        None,
        gt=0,
        description="longest recorded time between the starts of two requests of a session, its agents "
        "together, before `time_scale`: what comes after is moved up, and think times lose what is cut; "
        "null: none",
    )
    system_idle_cap_s: float | None = Field(
        None,
        ge=0,
        description="longest time without a request in flight or waiting anywhere: then the waits of all "
        "agents are shortened by the time beyond it, so that their order and distances stay; live with "
        "hosts.count: 1 alone; null: none",
    )
    subagent_start: Literal["after_turn", "recorded"] = Field(
        "after_turn",
        description="after_turn: when the request before it has its reply, or later; recorded: as long after "
        "that request was due as recorded, whether or not it has its reply (with `replies: planned`)",
    )
    start: Literal["beginning", "staggered", "random"] = Field(
        "beginning", description="staggered: after a wait of up to stagger_s; random: at a random turn"
    )
    stagger_s: float = Field(0.0, ge=0, description="longest wait of `start: staggered`")
    start_between: tuple[float, float] = Field(
        (0.0, 1.0), description="of `start: random`: shares of a session's turns or time, as in [0.25, 0.75]"
    )
    start_by: Literal["turns", "time"] = Field(
        "turns",
        description="of `start: random`: what the shares are of: the orchestrator's turns, or the time from "
        "the session's first request to its last; then the first turn from the drawn moment on is played",
    )
    warm_sessions: int | None = Field(
        None,
        ge=1,
        description="of `start: random`: only the run's first so many sessions, as many as there are slots "
        "(load.agents; a search's agents_max), so that those that follow them begin at their beginning; "
        "null: all",
    )
    primers: int = Field(
        0,
        ge=0,
        description="of `start: random`: so many requests before a session's first one are sent at once, one "
        "after the other, with one token of reply; they are not measured",
    )
    running_subagents: bool = Field(
        False,
        description="of `start: random`: sub-agents that run at a session's first turn start there too, at "
        "their next request, with primers of their own; false: only those that start later are played",
    )
    shared_prefix: bool = Field(
        True, description="sessions share the system and tool prefix, as real ones do"
    )
    replies: Literal["actual", "planned"] = Field(
        "actual", description="what contexts hold: what the model answered, or text of the recorded length"
    )
    sessions_max: int | None = Field(None, ge=1, description="only so many sessions; null: all")
    requests_max: int | None = Field(None, ge=1, description="per agent")
    context_max: int | None = Field(
        None,
        ge=1,
        description="sessions with a longer request, reply included, are left out; after the scale",
    )
    context_min: int | None = Field(
        None,
        ge=1,
        description="sessions without a request so long, reply included, are left out; after the scale",
    )
    subagents: Literal["any", "with", "without"] = Field(
        "any", description="play all sessions, or those with sub-agents alone, or those without"
    )
    context_scale: float = Field(
        1.0, gt=0, le=100, description="factor on the lengths of all prompts and replies"
    )
    order: Literal["file", "shuffled"] = Field("shuffled", description="of sessions")
    repeat: bool = Field(False, description="start over when all recorded sessions have been played")
    on_broken: Literal["auto", "fail", "skip"] = Field(
        "auto",
        description="what a part of a file does that cannot be read: it ends the command, or is left out "
        "and told; auto: left out of agents' own logs, an end in traces",
    )

    @model_validator(mode="after")
    def _parts_are_of_a_session(self) -> Self:
        low, high = self.start_between
        if not 0 <= low <= high <= 1:
            raise ValueError(f"start_between: [{low:g}, {high:g}]: 0 <= LOW <= HIGH <= 1 is expected")
        if self.start != "random" and (low, high) != (0.0, 1.0):
            raise ValueError(f"start_between: goes with `start: random`, found `start: {self.start}`")
        if self.start_by != "turns" and self.start != "random":
            raise ValueError(f"start_by: goes with `start: random`, found `start: {self.start}`")
        if self.warm_sessions is not None and self.start != "random":
            raise ValueError(f"warm_sessions: goes with `start: random`, found `start: {self.start}`")
        if self.primers and self.start != "random":
            raise ValueError(f"primers: goes with `start: random`, found `start: {self.start}`")
        if self.running_subagents and self.start != "random":
            raise ValueError(f"running_subagents: goes with `start: random`, found `start: {self.start}`")
        if self.subagent_start == "recorded" and self.replies != "planned":
            raise ValueError(
                "subagent_start: recorded: a sub-agent may start before the reply that it builds on: set "
                f"`replies: planned`, found `replies: {self.replies}`"
            )
        return self


class ProfileConfig(Strict):
    """Sessions sampled from a fitted profile."""

    kind: Literal["profile"] = "profile"
    path: Path = Field(description="the profile, of `swarm fit`")
    idle_cap_s: float | None = Field(None, ge=0, description="longest think of any kind; null: none")
    time_scale: float = Field(1.0, ge=0, description="factor on think times")
    start: Literal["beginning", "staggered", "random"] = Field(
        "beginning", description="staggered: after a wait of up to stagger_s; random: at a random turn"
    )
    stagger_s: float = Field(0.0, ge=0, description="longest wait of `start: staggered`")
    shared_prefix: bool = Field(True, description="sessions share the system and tool prefix")
    replies: Literal["actual", "planned"] = Field(
        "actual", description="what contexts hold: what the model answered, or text of the planned length"
    )


class GrowthConfig(Strict):
    """A set of prompts that grows in steps, by requests of the run."""

    first: int = Field(ge=1, description="prompts in the set at the start")
    step: int = Field(ge=1, description="prompts added at each step, up to the whole set")
    every_requests: int = Field(ge=1, description="requests of the run between two steps")


class PromptSetConfig(Strict):
    """A fixed set of equally long prompts, asked in a cycle or at random."""

    kind: Literal["prompt_set"] = "prompt_set"
    prompts: int = Field(100, ge=1, le=10_000_000, description="how many there are")
    prompt_tokens: int = Field(32_000, ge=1, description="length of each prompt")
    order: Literal["sequential", "random"] = Field(
        "sequential", description="one after the other, or by chance"
    )
    new_share: float = Field(
        0.0, ge=0, le=1, description="share of a request's tokens that is new; the rest can hit"
    )
    output_tokens: int = Field(1, ge=1, description="length of each reply")
    think_s: LognormalConfig = Field(
        LognormalConfig(median=1.0, sigma=0.0), description="before each request"
    )
    turns: int = Field(1, ge=1, le=1_000_000, description="requests of one session: consecutive places")
    grows: GrowthConfig | None = Field(None, description="null: all prompts from the start")
    own: bool = Field(False, description="each session has a set of its own: agents share no prompt")


class RoundsConfig(Strict):
    """Clients that ask in rounds: the next round begins when every client of the group has its reply."""

    kind: Literal["rounds"] = "rounds"
    clients: int = Field(
        16, ge=1, le=1_000_000, description="of one group; load.agents is the number of groups"
    )
    rounds: int = Field(10, ge=1, le=1_000_000, description="requests of each client")
    request_tokens: int = Field(2_048, ge=1, description="that a client adds to its history for each request")
    output_tokens: int = Field(1, ge=1, description="length of each reply")
    shared_tokens: int = Field(0, ge=0, description="first tokens, the same for all clients")
    replies: Literal["actual", "planned", "none"] = Field(
        "actual",
        description="what histories hold of them: what the model answered, text of that length, or nothing",
    )
    order: Literal["shuffled", "fixed"] = Field("shuffled", description="of the clients in a round")
    think_s: LognormalConfig = Field(
        LognormalConfig(median=0.0, sigma=0.0), description="before each request, from its round's start"
    )


class ProgramConfig(Strict):
    """Agents of one's own: a generator function that yields what they do."""

    kind: Literal["program"] = "program"
    program: str = Field(description="module:function")
    path: Path = Field(Path(), description="folder of the module; left out of a file: the file's own")
    parameters: dict[str, JsonValue] = Field(
        default_factory=dict, description="handed to the program as they are"
    )
    replies: Literal["actual", "planned"] = Field(
        "actual", description="what contexts hold: what the model answered, or text of the planned length"
    )

    @field_validator("program")
    @classmethod
    def _named(cls, program: str) -> str:
        if re.fullmatch(r"[^\W\d][\w.]*:[^\W\d][\w.]*", program) is None:
            raise ValueError("module:function is expected, as in agents:orchestrator")
        return program


Workload = SyntheticConfig | ReplayConfig | ProfileConfig | PromptSetConfig | RoundsConfig | ProgramConfig
