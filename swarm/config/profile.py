"""A workload's profile: distributions and correlations of agent sessions, no content.

A table holds a distribution's quantiles at the profile's `levels`; between them its inverse hyperbolic sine
(a logarithm that small and negative values survive) is linear. Tokens and seconds throughout.
"""

from __future__ import annotations

from itertools import pairwise, product
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from swarm.config.strict import Strict

LEVELS_MAX = 256
"""Of a table; fitted ones have 35."""
CLASSES_MAX = 16
EDGES_MAX = 64
TTLS_MAX = 16
TIMES_MAX = 32
CACHES_MAX = 16
WITHIN_MAX = 12
"""Of the balance, as the four before: at most 773 numbers are summed for each request of each candidate, and
a group of sessions is chosen in seconds. Fitted profiles have 234."""

Table = tuple[float, ...]
Edges = Annotated[tuple[float, ...], Field(max_length=EDGES_MAX)]
LATENTS = ("requests", "start", "growth", "output", "tool_wait", "human_wait", "human_share", "service")
"""What sets a session apart, each a standard normal; correlated."""


class FittedConfig(Strict):
    """What the profile was fitted on."""

    sessions: int = Field(ge=0)
    requests: int = Field(ge=0)
    subagents: int = Field(ge=0)


class SessionsConfig(Strict):
    """What is drawn once for each session."""

    requests: Table = Field(description="requests of the orchestrator")
    start_context: Table = Field(description="input of the first request")
    tool_tokens: Table
    system_tokens: Table
    correlation: tuple[tuple[float, ...], ...] = Field(description="of LATENTS, rows in their order")
    arrival_s: Table | None = Field(None, description="between starts of sessions; null: all start at 0")


class SpreadConfig(Strict):
    """Which share of a quantity's variance (as normal scores) lies between sessions."""

    growth: float = Field(ge=0, lt=1)
    output: float = Field(ge=0, lt=1)
    tool_wait: float = Field(ge=0, lt=1)
    human_wait: float = Field(ge=0, lt=1)
    human_share: float = Field(ge=0, lt=1)
    service: float = Field(ge=0, lt=1)


class LinksConfig(Strict):
    """Correlations of one turn's quantities within a session, as normal scores."""

    output_service: float = Field(ge=-1, le=1, description="output and service time of one request")
    output_growth: float = Field(ge=-1, le=1, description="a request's output and the next one's growth")
    wait_growth: float = Field(ge=-1, le=1, description="a wait and the growth after it")
    wait_output: float = Field(ge=-1, le=1, description="a wait and the output after it")
    wait_wait: float = Field(ge=-1, le=1, description="a wait and the one before it")
    service_wait: float = Field(ge=-1, le=1, description="a service time and the wait after it")


class TurnsConfig(Strict):
    """What is drawn for each turn of an orchestrator.

    A blind wait is one that was recorded from start to start, the service time in it being unknown.
    """

    human_share: float = Field(ge=0, le=1)
    blind_share_tool: float = Field(ge=0, le=1)
    blind_share_human: float = Field(ge=0, le=1)
    first_output: Table
    output: Table
    service_s: Table
    tool_wait_s: Table
    human_wait_s: Table
    blind_wait_s: Table
    growth_context: tuple[float, ...] = Field(
        max_length=CLASSES_MAX - 1, description="upper ends of the contexts' classes but the last"
    )
    growth_tool: tuple[Table, ...] = Field(
        max_length=CLASSES_MAX, description="of turns that a tool opened, by class of context"
    )
    growth_human: Table = Field(description="of turns that a person opened")
    growth_second: Table = Field(description="of second requests, contexts of the first two classes")
    spread: SpreadConfig
    links: LinksConfig


class BreaksConfig(Strict):
    """Where a prompt does not go on from the one before it.

    A rewrite keeps the prefix and sends most of the rest changed; a tail is a small pull-back.
    """

    watermark: Table = Field(description="context past which a session compacts")
    unlimited_share: float = Field(ge=0, le=1, description="sessions that never reach a watermark")
    unlimited_tokens: int = Field(gt=0)
    compacted_input: Table
    compacted_kept: Table
    compaction_wait_s: Table
    rewrite_wait_s: tuple[float, ...] = Field(
        max_length=CLASSES_MAX - 1, description="upper ends of the waits' classes but the last"
    )
    rewrite_share: tuple[float, ...] = Field(max_length=CLASSES_MAX, description="of turns, by class of wait")
    rewrite_share_second: float = Field(ge=0, le=1, description="of second turns")
    rewrite_share_compacted: float = Field(ge=0, le=1, description="of turns after a compaction")
    rewrite_growth: Table
    rewrite_kept: Table
    tail_share: float = Field(ge=0, le=1)
    tail_tokens: Table


class SubagentsConfig(Strict):
    """Sub-agents of a session."""

    session_share: float = Field(ge=0, le=1, description="sessions with any")
    requests_link: float = Field(ge=-1, le=1, description="having some, against requests of the session")
    count: Table
    requests: Table
    start_context: Table
    shared_tokens: float = Field(ge=0, description="prefix that those of one session share")
    growth: Table
    output: Table
    service_s: Table
    wait_s: Table
    delay_s: Table = Field(description="from the orchestrator's request before it to its start")
    together_share: float = Field(ge=0, le=1, description="that start after the same request as another")
    joined_share: float = Field(ge=0, le=1, description="whose end the orchestrator waits for")
    tool_tokens: int = Field(ge=0)
    system_tokens: int = Field(ge=0)


TOTALS = 5
"""Of sessions: requests, tokens, those in whole blocks, the new ones of them, sub-agents' requests."""


class BalanceConfig(Strict):
    """Means over sessions that a set of sampled sessions is held close to: marginals and reuse."""

    input_edges: Edges
    output_edges: Edges
    gap_edges_s: Edges
    think_edges_s: Edges
    growth_edges: Edges
    ttls_s: tuple[float, ...] = Field(max_length=TTLS_MAX)
    time_edges_s: tuple[float, ...] = Field(min_length=1, max_length=TIMES_MAX)
    reach_s: tuple[Annotated[tuple[float, ...], Field(max_length=CACHES_MAX)], ...] = Field(
        description="how long caches of rising size hold a prompt: a row for each of time_edges_s"
    )
    within_s: tuple[float, ...] = Field(max_length=WITHIN_MAX)
    targets: tuple[float, ...]

    @model_validator(mode="after")
    def _rows_fit(self) -> Self:
        bands = len(self.time_edges_s)
        caches = {len(row) for row in self.reach_s}
        if len(self.reach_s) != bands or len(caches) != 1:
            raise ValueError(f"reach_s: must have {bands} rows of one length, one for each of time_edges_s")
        edges = (
            self.input_edges,
            self.output_edges,
            self.gap_edges_s,
            self.think_edges_s,
            self.growth_edges,
            self.ttls_s,
            self.time_edges_s,
        )
        wanted = TOTALS + sum(map(len, edges)) + caches.pop() + len(self.within_s) * bands
        if self.targets and len(self.targets) != wanted:
            raise ValueError(f"targets: must have {wanted} values, got {len(self.targets)}")
        return self


class ProfileFile(Strict):
    """A whole profile."""

    version: Literal[1] = 1
    name: str
    description: str = ""
    fitted: FittedConfig
    block_tokens: int = Field(ge=1)
    levels: tuple[float, ...] = Field(min_length=2, max_length=LEVELS_MAX)
    sessions: SessionsConfig
    turns: TurnsConfig
    breaks: BreaksConfig
    subagents: SubagentsConfig | None = None
    balance: BalanceConfig | None = None

    @model_validator(mode="after")
    def _tables_fit(self) -> Self:
        is_rising = all(a < b for a, b in pairwise(self.levels))
        if self.levels[0] != 0 or self.levels[-1] != 1 or not is_rising:
            raise ValueError("levels: must rise from 0 to 1")
        for section in (self.sessions, self.turns, self.breaks, self.subagents):
            for key, field in type(section).model_fields.items() if section is not None else ():
                table = getattr(section, key)
                if field.annotation in (Table, Table | None) and table is not None and key not in _LISTS:
                    self._check(f"{type(section).__name__}.{key}", table)
        for table in self.turns.growth_tool:
            self._check("turns.growth_tool", table)
        if len(self.turns.growth_tool) != len(self.turns.growth_context) + 1:
            raise ValueError("turns.growth_tool: must have one table more than growth_context has values")
        rows = self.sessions.correlation
        if len(rows) != len(LATENTS) or any(len(row) != len(LATENTS) for row in rows):
            raise ValueError(f"sessions.correlation: must have {len(LATENTS)} rows of {len(LATENTS)}")
        for row, column in product(range(len(rows)), repeat=2):
            value, mirrored = rows[row][column], rows[column][row]
            if not -1 <= value <= 1 or abs(value - mirrored) > SYMMETRY or (row == column and value != 1):
                raise ValueError(
                    f"sessions.correlation[{row}][{column}]: must lie in [-1, 1], be 1 on the diagonal and "
                    f"equal [{column}][{row}], which is {mirrored:g}; got {value:g}"
                )
        if self.balance is not None and not self.balance.targets:
            raise ValueError("balance.targets: none; fit the profile anew, or leave out its balance")
        if len(self.breaks.rewrite_share) != len(self.breaks.rewrite_wait_s) + 1:
            raise ValueError("breaks.rewrite_share: must have one value more than rewrite_wait_s")
        return self

    def _check(self, key: str, table: Table) -> None:
        if len(table) != len(self.levels):
            raise ValueError(f"{key}: must have {len(self.levels)} quantiles, one a level, got {len(table)}")
        if any(a > b for a, b in pairwise(table)):
            raise ValueError(f"{key}: quantiles must not fall")


SYMMETRY = 1e-6
_LISTS = ("rewrite_wait_s", "rewrite_share", "growth_context")
