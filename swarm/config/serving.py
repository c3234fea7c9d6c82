"""How an emulated fleet answers over HTTP: the names it goes by, and what its model says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import Field

from swarm.config.strict import Strict
from swarm.config.workload import LognormalConfig


class ServingConfig(Strict):
    """The names and replies of a served fleet; a simulation has no use for them."""

    models: tuple[str, ...] = Field((), description="more names of the model, whose caches are the same")
    adapters: tuple[str, ...] = Field(
        (), description="names of LoRA adapters, each with caches of its own, as any other name has"
    )
    refuse_unknown_models: bool = Field(False, description="404 for a name that is none of these")
    output_tokens: LognormalConfig = Field(
        LognormalConfig(median=128, sigma=0, least=1),
        description="length of a reply where the client names none, or a bound alone",
    )
    tool_call_rate: float = Field(
        0.0, ge=0, le=1, description="share of replies that call a tool, where the client leaves it open"
    )
    parallel_call_rate: float = Field(
        0.0,
        ge=0,
        le=0.9,
        description="share of calls that another one follows in the same reply, where the client allows it",
    )
    tool_arguments: dict[str, dict[str, tuple[Any, ...]]] = Field(
        default_factory=dict,
        description="by tool and argument, the only values that it is called with; tools that run or write "
        "something are called by themselves with such values alone",
    )
    chat_template_tokens: int = Field(
        0,
        ge=0,
        le=64,
        description="tokens that each message costs beside its content; 0: counts stay as planned",
    )
    tokenizer: Path | None = Field(
        None,
        description="a model's `tokenizer.json`, by which text is counted instead of by 4 bytes a token; "
        "needs the extra `tokenizer`",
    )
    lateness_s_max: float = Field(
        0.05, gt=0, description="p99 of how late events are sent at which `/health` says so"
    )
