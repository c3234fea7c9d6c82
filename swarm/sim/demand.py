"""What a workload asks of a server on average: some of its sessions, played against one that never waits."""

from __future__ import annotations

import numpy as np

from swarm.config.experiment import Experiment
from swarm.config.fleet import FleetConfig, SimpleCostConfig
from swarm.config.load import LoadConfig
from swarm.config.target import TargetConfig
from swarm.load.sizing import Demand, Known
from swarm.measure.latency import floats
from swarm.sim.run import simulate
from swarm.workload.source import Material

SESSIONS = 24
TIME_S = 600.0
POOL_TOKENS = 10**12


def demand_of(experiment: Experiment, known: Known, material: Material) -> Demand:
    """Return what a session of the experiment's workload asks for, at the pace of a server that is idle."""
    cost = SimpleCostConfig(
        prefill_tokens_per_s=1000.0 / max(1e-6, known.cold_s(1000.0)),
        decode_base_s=known.tpot_s or 0.01,
        kv_capacity_tokens=POOL_TOKENS,
    )
    groups = ({"count": SESSIONS},)
    alone = experiment.model_copy(
        update={
            "fleet": FleetConfig.model_validate(
                {"cost": cost, "replicas": groups, "router": "session_affine"}
            ),
            "load": LoadConfig(agents=SESSIONS, ramp_s=0.0, duration_s=TIME_S, drain_s=0.0),
            "target": TargetConfig(),
            "slo": (),
        }
    )
    rows = simulate(alone, material).rows
    prompt, ideal = floats(rows, "planned_prompt_tokens"), floats(rows, "ideal_tokens")
    new = np.maximum(0.0, prompt - ideal)
    turns = np.array(rows.column("turn").to_pylist())
    parents = np.array([parent is None for parent in rows.column("parent").to_pylist()])
    firsts = new[(turns == 0) & parents]
    later = new[~((turns == 0) & parents)]
    span = SESSIONS * TIME_S
    return Demand(
        first_tokens=tuple(firsts.tolist()),
        context_tokens=float(prompt.mean()) if len(prompt) else 0.0,
        requests_per_s=rows.num_rows / span,
        new_tokens_per_s=float(later.sum()) / span,
        prompt_tokens_per_s=float(prompt.sum()) / span,
        output_tokens_per_s=float(floats(rows, "planned_output_tokens").sum()) / span,
        # A search looks when its agents are there: their first prompts have then been computed.
        new_tokens=tuple(np.sort(later if len(later) else firsts).tolist()),
    )
