"""An emulated fleet looked at before it is loaded, as `live.look` looks at a server."""

from __future__ import annotations

import math

from swarm.config.experiment import Experiment
from swarm.config.fleet import FleetConfig
from swarm.config.load import LoadConfig
from swarm.config.workload import PromptSetConfig
from swarm.fleet.build import build_fleet
from swarm.fleet.context_length import max_model_len
from swarm.load.sizing import Known
from swarm.measure.latency import tpot_s, ttft_s
from swarm.sim.run import simulate
from swarm.workload.source import Material

SHORT_TOKENS, LONG_TOKENS = 2_048, 32_768
REPLY_TOKENS = 32


def known_of(fleet: FleetConfig) -> Known:
    """Return what is known of a fleet: its memory as configured, its pace from prompts that it is sent."""
    blocks = [rank.hierarchy.tiers[0].spec.capacity_blocks for rank in build_fleet(fleet).ranks]
    pool = None if None in blocks else sum(block or 0 for block in blocks) * fleet.block_tokens
    context = max_model_len(fleet)
    lengths = [tokens for tokens in (SHORT_TOKENS, LONG_TOKENS) if 2 * tokens <= context] or [context // 4]
    paces = [_pace(fleet, tokens) for tokens in lengths]
    return Known(
        context_tokens=context,
        pool_tokens=pool,
        engines=len(blocks),
        cold=tuple((tokens, took_s) for tokens, (took_s, _) in zip(lengths, paces, strict=True)),
        tpot_s=None if math.isnan(paces[0][1]) else paces[0][1],
    )


def _pace(fleet: FleetConfig, tokens: int) -> tuple[float, float]:
    """Return what a new prompt alone takes to its first token, and its reply for each further one."""
    rows = simulate(
        Experiment(
            name="pace",
            workload=PromptSetConfig(prompts=1, prompt_tokens=tokens, output_tokens=REPLY_TOKENS),
            load=LoadConfig(agents=1, duration_s=None, sessions_max=1, ramp_s=0.0),
            fleet=fleet,
        ),
        Material(),
    ).rows
    return float(ttft_s(rows)[0]), float(tpot_s(rows)[0])
