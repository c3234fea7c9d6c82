"""`swarm calibrate`: a server probed, and the fleet that takes as long written."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml

from swarm.config.fleet import FleetConfig, SimpleCostConfig
from swarm.config.read import validate
from swarm.config.target import TargetConfig
from swarm.errors import UsageError
from swarm.fleet.cost.calibration import Calibration
from swarm.live.probes import probe


def run_calibrate(url: str, out: Path, *, key_env: str | None, api: str) -> int:
    """Probe a server, write the fleet's file and say how well it fits; return the exit code."""
    if out.exists():
        raise UsageError(f"calibrate: --out {out} exists; name a new file")
    config = validate(TargetConfig, {"urls": [url], "api_key_env": key_env, "api": api}, "calibrate")
    nonce = f"calibration-{datetime.now(UTC).isoformat()}"
    found, model = asyncio.run(probe(config, nonce=nonce))
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(fleet_text(found, url=url, model=model), encoding="utf-8")
    print(f"prefill        {found.prefill_tokens_per_s:12,.0f} tok/s  after {found.entry_s * 1e3:.2f} ms")
    print(f"decode step    {found.decode_base_s * 1e3:12.3f} ms")
    print(f"  per sequence {found.decode_per_sequence_s * 1e6:12.2f} us")
    print(f"  per 1k token {found.decode_per_context_token_s * 1e9:12.2f} us")
    print(f"block          {found.block_tokens or 'not visible':>12}")
    print(f"error, median  {found.prefill_error:12.1%} of TTFT, {found.decode_error:.1%} of TPOT")
    print(out.absolute())
    return 0


def fleet_text(found: Calibration, *, url: str, model: str) -> str:
    """Return the fleet's file."""
    cost = SimpleCostConfig(
        prefill_tokens_per_s=_rounded(found.prefill_tokens_per_s),
        entry_s=_rounded(found.entry_s),
        decode_base_s=max(1e-6, _rounded(found.decode_base_s)),
        decode_per_sequence_s=_rounded(found.decode_per_sequence_s),
        decode_per_context_token_s=_rounded(found.decode_per_context_token_s),
    )
    blocks = {} if found.block_tokens is None else {"block_tokens": found.block_tokens}
    fleet: dict[str, Any] = {"name": "calibrated", **blocks, "cost": cost.model_dump()}
    FleetConfig.model_validate(fleet)
    notes = [
        f"# What {model} at {url} took, as a fleet: prefill and decode from probes of an idle server.",
        f"# Its median error on them is {found.prefill_error:.1%} of TTFT, {found.decode_error:.1%} of TPOT.",
        "# Not visible from outside, and left at defaults: kv_bytes_per_token, kv_capacity_tokens, tiers.",
    ]
    if found.block_tokens is None:
        notes.append("# The server reports no cached tokens: block_tokens is the default as well.")
    return "\n".join(notes) + "\n" + yaml.safe_dump(fleet, sort_keys=False)


def _rounded(value: float) -> float:
    return float(f"{value:.4g}")
