"""A swarm of emulated coding agents against real or emulated LLM inference fleets.

The door for Python: what `swarm` does on the command line, as functions.

    import swarm

    run = swarm.simulate("experiments/quickstart.yaml", changes=["load.agents=50"])
    run.summary["effective_ttft_s"]["p95"]      # seconds
    run.requests.groupby("role")["cached_tokens"].sum()

Names are imported when they are first asked for: `import swarm` by itself costs nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from swarm.api import Run, analyze, load_run, read_experiment, run, serve, simulate
    from swarm.config.experiment import Experiment
    from swarm.workload.effects import Agent, Ended, Infer, Inferred, Join, Spawn, Think
    from swarm.workload.program.context import AgentContext

__all__ = [
    "Agent",
    "AgentContext",
    "Ended",
    "Experiment",
    "Infer",
    "Inferred",
    "Join",
    "Run",
    "Spawn",
    "Think",
    "analyze",
    "load_run",
    "read_experiment",
    "run",
    "serve",
    "simulate",
]
_API, _EFFECTS = "swarm.api", "swarm.workload.effects"
_HOMES = {
    "Agent": _EFFECTS,
    "AgentContext": "swarm.workload.program.context",
    "Ended": _EFFECTS,
    "Experiment": "swarm.config.experiment",
    "Infer": _EFFECTS,
    "Inferred": _EFFECTS,
    "Join": _EFFECTS,
    "Run": _API,
    "Spawn": _EFFECTS,
    "Think": _EFFECTS,
    "analyze": _API,
    "load_run": _API,
    "read_experiment": _API,
    "run": _API,
    "serve": _API,
    "simulate": _API,
}


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'swarm' has no attribute {name!r}")
    value = getattr(import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
