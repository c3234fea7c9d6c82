"""`swarm init`: a short experiment that fits a server, to change and keep."""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml

from swarm.commands.capacity import words_of
from swarm.config.read import read_experiment
from swarm.config.target import TargetConfig
from swarm.errors import UsageError
from swarm.interrupts import Interrupts
from swarm.live.look import LEARNED, Looked, look_at
from swarm.live.targets.usable import check_target
from swarm.load.sizing import IDLE_CAP_S, fitted_agents

AGENTS = 4
"""Few: a run that shows whether all is well, before one that asks how many there may be."""


def init(target: TargetConfig, out: Path) -> int:
    """Look at a server and write an experiment for it; return the exit code.

    Raises:
        UsageError: The file exists, or no coding agents fit the server's context.
    """
    if out.exists():
        raise UsageError(f"init: --out {out} exists; name a new file")
    check_target(target)
    with Interrupts() as interrupts:
        nonce = f"look-{datetime.now(UTC):%Y%m%dT%H%M%S%f}"
        looked = look_at(target, nonce=nonce, heed=interrupts.heed, note=_say)
    for line in words_of(looked):
        _say(line)
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(text_of(target, looked), encoding="utf-8")
    read_experiment(out, [])
    print(out)
    return 0


def text_of(asked: TargetConfig, looked: Looked) -> str:
    """Return the experiment's file."""
    found = looked.tried.target
    stated: dict[str, Any] = asked.model_dump(mode="json", exclude_defaults=True)
    target = {"urls": list(asked.urls), "model": found.model, **stated}
    target |= {name: learned for name in LEARNED if (learned := getattr(found, name)) != getattr(asked, name)}
    facts = "\n".join(f"#   {line}" for line in words_of(looked))
    blocks = looked.facts.block_tokens
    block = (
        "" if blocks is None else f"block_tokens: {blocks}        # as the server says, for ideal hit rates\n"
    )
    return f"""# A first run against {asked.urls[0]}; what was seen of it:
{facts}
#   swarm run FILE
name: mine
seed: 1
target:
{_indented(target)}workload:
  kind: synthetic       # coding agents; other kinds: docs/workloads.md
  warm_start: true      # sessions are entered at a random point of their life
  idle_cap_s: {IDLE_CAP_S:g}        # nobody is away for longer
{_indented(_agents(looked.known.context_tokens))}load:
  agents: {AGENTS}             # sessions at once; how many there may be: swarm capacity --target URL
  ramp_s: 20
  warmup_s: 30          # what comes before is not measured
  duration_s: 150
slo:
  - {{metric: effective_ttft_s, quantile: 0.95, at_most: 2.0}}
  - {{metric: tpot_s, quantile: 0.95, at_most: 0.1}}
{block}"""


def _agents(context_tokens: int | None) -> dict[str, Any]:
    """Return what of the agents differs from the default, for the server's context."""
    try:
        config = fitted_agents(context_tokens, agents_max=AGENTS)
    except ValueError as fault:
        raise UsageError(f"init: {fault}") from None
    dumped: dict[str, Any] = config.model_dump(mode="json", exclude_defaults=True)
    return {
        name: value
        for name, value in dumped.items()
        if name not in ("kind", "warm_start", "warm_sessions", "idle_cap_s")
    }


def _indented(data: dict[str, Any]) -> str:
    text = yaml.safe_dump(json.loads(json.dumps(data)), sort_keys=False, default_flow_style=None, width=100)
    return "".join(f"  {line}\n" for line in text.splitlines())


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
