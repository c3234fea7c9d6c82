"""`swarm calibrate`: a server probed, the fleet that takes as long written, and what it predicts held out."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from swarm.config.fleet import FleetConfig, ReplicaGroupConfig, SimpleCostConfig
from swarm.config.target import TargetConfig
from swarm.errors import RunError, UsageError
from swarm.fleet.rehearsal import Part, Played, rehearse
from swarm.interrupts import Interrupts
from swarm.live.preflight import tried
from swarm.live.probing.course import MERGED_MAX, Course, Found, calibrated
from swarm.live.probing.heldout import agents_of, played
from swarm.live.targets.facts import ServerFacts, server_facts
from swarm.live.targets.openai import OpenAITarget
from swarm.live.targets.usable import check_target
from swarm.units import GIB

SEED = 1
REPEATS = 2
"""Of the load that is held out: how far they are apart is the server's own noise."""
BOUNDS = {"p50": 0.3, "p95": 0.4}
"""Relative errors of a prediction that are passed, beside the server's own noise."""
HIT_POINTS_MAX = 2.0
PACE = "TPOT p50"
"""What steps take that prompts join, with all that goes on beside: no probe sees them alone."""
LONGER_LEAST, LONGER_MAX = 0.01, 0.4
"""Below the one it is not told. Beyond the other no file is written, but where noise excuses it."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """One figure of the load that was held out; times in seconds, hits in points."""

    name: str
    predicted: float
    observed: float
    error: float
    noise: float
    bound: float

    @property
    def passes(self) -> bool:
        """Whether it is predicted well enough."""
        return abs(self.error) <= self.bound + self.noise


def run_calibrate(target: TargetConfig, out: Path, *, course: Course | None = None) -> int:
    """Probe a server, hold a prediction against it, and write the fleet's file; return the exit code.

    Nothing is written, and 1 returned, where the prediction is out of bounds.
    """
    if out.exists():
        raise UsageError(f"calibrate: --out {out} exists; name a new file")
    check_target(target)
    with Interrupts() as interrupts:
        config = tried(target, heed=interrupts.heed, note=_say).target
    facts, found, fleet, verdicts = asyncio.run(_calibrated(config, course or Course()))
    print(answer(verdicts))
    _show(found)
    _show_verdicts(verdicts)
    failed = [verdict.name for verdict in verdicts if not verdict.passes]
    if failed:
        print(
            f"swarm: calibrate: the fleet would predict {', '.join(failed)} wrong beyond bound and noise: "
            f"nothing is written to {out}; was the server idle? Try again when nobody else uses it",
            file=sys.stderr,
        )
        return 1
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(
        _file(fleet, found, facts, verdicts, url=target.urls[0], model=config.model or ""), encoding="utf-8"
    )
    print(out.absolute())
    return 0


async def _calibrated(
    config: TargetConfig, course: Course
) -> tuple[ServerFacts, Found, FleetConfig, list[Verdict]]:
    facts = await server_facts(config)
    for closed in facts.closed:
        _say(closed)
    config = config.model_copy(update={"context_tokens": facts.context_tokens})
    nonce = f"calibration-{datetime.now(UTC).isoformat()}"
    found = await calibrated(config, facts, course, nonce=nonce, say=_say)
    fleet = fleet_of(found, facts)
    rates = found.rates
    turn_s = rates.ttft_s(found.longest_tokens // 4, found.longest_tokens // 5)
    turn_s += 48 * rates.tpot_s(4, found.longest_tokens)
    agents = agents_of(
        SEED, longest_tokens=found.longest_tokens, pool_tokens=facts.pool_tokens, turn_s=turn_s
    )
    runs = []
    for repeat in range(REPEATS):
        _say(f"a load that is held out: {len(agents)} agents, {sum(map(len, agents))} requests")
        target = OpenAITarget(config=config, seed=SEED, run_id=f"{nonce}-{repeat}")
        try:
            runs.append(await played(target, agents))
        finally:
            await target.close()
    verdicts = verdicts_of(fleet, agents, runs)
    return facts, found, with_longer(fleet, verdicts), verdicts


def fleet_of(found: Found, facts: ServerFacts) -> FleetConfig:
    """Return the fleet that takes as long; what nobody has seen stays at its default."""
    rates = found.rates
    cost: dict[str, Any] = {
        "prefill_tokens_per_s": _rounded(rates.prefill_tokens_per_s),
        "prefill_per_context_token_s": _rounded(rates.prefill_per_context_token_s),
        "prefill_chunk_s": _rounded(rates.prefill_chunk_s),
        "prefill_chunk_per_token_s": _rounded(rates.prefill_chunk_per_token_s),
        "prefill_alone_s": _rounded(rates.prefill_alone_s),
        "entry_s": _rounded(rates.entry_s),
        "entry_per_token_s": _rounded(rates.entry_per_token_s),
        "entry_alone": _rounded(rates.entry_alone),
        "decode_base_s": max(1e-6, _rounded(rates.decode_base_s)),
        "decode_per_sequence_s": _rounded(rates.decode_per_sequence_s),
        "decode_per_context_token_s": _rounded(rates.decode_per_context_token_s),
    }
    engines = facts.engines or 1
    if found.pool_tokens is not None:
        cost["kv_capacity_tokens"] = found.pool_tokens // engines
    group: dict[str, Any] = {"count": engines}
    if found.batches.max_sequences is not None:
        group["max_sequences"] = found.batches.max_sequences
    elif found.batches.largest >= ReplicaGroupConfig().max_sequences:
        group["max_sequences"] = found.batches.largest
    if found.step_tokens is not None:
        group["max_batched_tokens"] = found.step_tokens
    fleet: dict[str, Any] = {"name": "calibrated", "cost": SimpleCostConfig(**cost), "replicas": [group]}
    if found.block_tokens is not None:
        fleet["block_tokens"] = found.block_tokens
    if found.lower.probes:
        token_bytes = SimpleCostConfig().kv_bytes_per_token
        dram: dict[str, Any] = {"name": "dram", "read_latency_s": _rounded(found.lower.latency_s)}
        if found.lower.token_s:
            dram["read_gib_per_s"] = _rounded(token_bytes / found.lower.token_s / GIB)
        # An engine loads what it finds, whatever computing would take.
        fleet |= {"tiers": [{"name": "hbm"}, dram], "recompute_when_faster": False}
    if facts.context_tokens is not None:
        fleet["max_model_len"] = facts.context_tokens
    return FleetConfig.model_validate(fleet)


def with_longer(fleet: FleetConfig, verdicts: Sequence[Verdict]) -> FleetConfig:
    """Return the fleet with the share by which steps took longer than it predicts, where noise is less."""
    paces = [
        each for each in verdicts if each.name == PACE and abs(each.error) > max(each.noise, LONGER_LEAST)
    ]
    if not paces or not isinstance(fleet.cost, SimpleCostConfig):
        return fleet
    longer = min(LONGER_MAX, max(-LONGER_MAX, _rounded(paces[0].observed / paces[0].predicted - 1)))
    # Validated anew, so that the file shows what was set.
    cost = SimpleCostConfig(**{**fleet.cost.model_dump(exclude_unset=True), "steps_longer": longer})
    return fleet.model_copy(update={"cost": cost})


def verdicts_of(
    fleet: FleetConfig, agents: Sequence[Sequence[Part]], runs: Sequence[Sequence[Played]]
) -> list[Verdict]:
    """Hold what the fleet predicts against what the server did, over all repeats.

    Raises:
        RunError: The server answered none of the requests.
    """
    if not all(runs):
        raise RunError("calibrate: the server answered none of the requests that were held out")
    predicted = rehearse(fleet, agents)
    found = []
    for metric, values in (("TTFT", _ttfts), ("TPOT", _tpots)):
        mine, theirs = values(predicted), [values(run) for run in runs]
        if not mine or not all(theirs):
            continue
        for name, share in (("p50", 50), ("p95", 95)):
            expected = float(np.percentile(mine, share))
            seen = float(np.percentile(np.concatenate(theirs), share))
            each = [float(np.percentile(values, share)) for values in theirs]
            noise = (max(each) - min(each)) / seen
            found.append(
                Verdict(f"{metric} {name}", expected, seen, expected / seen - 1, noise, BOUNDS[name])
            )
    hits = [_hit_points(run) for run in runs]
    expected_points = _hit_points(predicted)
    known = [points for points in hits if points is not None]
    if known and expected_points is not None:
        seen = sum(known) / len(known)
        error = expected_points - seen
        found.append(Verdict("hits", expected_points, seen, error, max(known) - min(known), HIT_POINTS_MAX))
    return found


def _ttfts(run: Sequence[Played]) -> list[float]:
    return [each.ttft_s for each in run]


def _tpots(run: Sequence[Played]) -> list[float]:
    return [each.tpot_s for each in run if each.tpot_s is not None]


def _hit_points(run: Sequence[Played]) -> float | None:
    known = [each for each in run if each.cached_tokens is not None]
    prompt = sum(each.prompt_tokens for each in known)
    return 100.0 * sum(each.cached_tokens or 0 for each in known) / prompt if prompt else None


def answer(verdicts: Sequence[Verdict]) -> str:
    """Return in a sentence how well the fleet predicts a load that it was not made from."""
    if not verdicts:
        return "What the fleet predicts was not held against anything: the server showed no times."
    failed = [each for each in verdicts if not each.passes]
    told = ", ".join(
        f"{each.name} {each.error:+.1f} points" if each.name == "hits" else f"{each.name} {each.error:+.0%}"
        for each in failed or verdicts
    )
    if failed:
        return f"The fleet does not predict the load that was held out: {told}."
    return f"The fleet predicts the load that was held out: {told}."


def _show(found: Found) -> None:
    rates = found.rates
    print(f"prefill          {rates.prefill_tokens_per_s:12,.0f} tok/s  after {rates.entry_s * 1e3:.2f} ms")
    print(f"  one by one     {rates.entry_alone:12.3f} times that, those behind wait")
    print(f"  prompt token   {rates.entry_per_token_s * 1e6:12.3f} us, cached or not")
    print(
        f"  attention      {rates.prefill_per_context_token_s * 1e12:12.3f} ps per token and token before it"
    )
    print(f"  beside others  {rates.prefill_chunk_s * 1e3:12.3f} ms of a step for each prompt in it")
    print(f"  prompt token   {rates.prefill_chunk_per_token_s * 1e6:12.3f} us of it, cached or not")
    print(f"  alone          {rates.prefill_alone_s * 1e3:12.3f} ms of a step in which nobody decodes")
    print(f"decode step      {rates.decode_base_s * 1e3:12.3f} ms")
    print(f"  per sequence   {rates.decode_per_sequence_s * 1e6:12.2f} us")
    print(f"  per 1k token   {rates.decode_per_context_token_s * 1e9:12.2f} us")
    print(f"block            {found.block_tokens or 'not visible':>12}")
    pool = f"{found.pool_tokens:,}" if found.pool_tokens else f"over {found.pool_sent:,}"
    print(f"KV pool          {pool if found.pool_tokens or found.pool_sent else 'not visible':>12} tokens")
    print(f"below HBM        {found.lower.told}")
    for probe in found.lower.probes:
        print(
            f"  {probe.tokens:>10,} tok  {probe.hit_s * 1e3:9.2f} ms in HBM "
            f"{probe.lower_s * 1e3:9.2f} ms below {probe.miss_s * 1e3:9.2f} ms computed"
        )
    if found.lower.probes:
        print(
            f"  a load         {found.lower.latency_s * 1e3:12.2f} ms, "
            f"{found.lower.token_s * 1e6:.3f} us a token"
        )
    sequences = found.batches.max_sequences or f"over {found.batches.largest:,}"
    print(f"at once          {sequences:>12} requests")
    print(f"a step           {found.step_tokens or 'not visible':>12} tokens")
    print(f"error, median    {found.ttft_error:12.1%} of TTFT, {found.tpot_error:.1%} of TPOT, on the probes")
    for name, error in found.unsettled.items():
        if error > 0.03:
            print(f"not settled      {name} is known within {error:.0%} after {found.rounds} rounds")
    if found.late:
        print(f"too late         {found.late} probes waited for this process and were sent again")
    if found.merged_share > MERGED_MAX:
        print(f"merged           {found.merged_share:.0%} of the reads held several tokens")


def _show_verdicts(verdicts: Sequence[Verdict]) -> None:
    print("held out          predicted    observed   error   repeats differ by")
    for each in verdicts:
        if each.name == "hits":
            line = (
                f"{each.predicted:9.1f} % {each.observed:9.1f} % {each.error:+6.1f}   {each.noise:.1f} points"
            )
        else:
            line = f"{each.predicted * 1e3:8.2f} ms {each.observed * 1e3:8.2f} ms "
            line += f"{each.error:+7.0%}   {each.noise:.0%}"
        print(f"{each.name:<15} {line}{'' if each.passes else '   out of bounds'}")


def _file(
    fleet: FleetConfig, found: Found, facts: ServerFacts, verdicts: Sequence[Verdict], *, url: str, model: str
) -> str:
    """Return the fleet's file."""
    notes = [
        f"# What {model} at {url} took, as a fleet: {found.rounds} rounds of probes of an idle server.",
        f"# Median error on them: {found.ttft_error:.1%} of TTFT, {found.tpot_error:.1%} of TPOT. Held out:",
        *(
            f"#   {each.name}: {each.error:+.1f} points, repeats differ by {each.noise:.1f}"
            if each.name == "hits"
            else f"#   {each.name}: {each.error:+.0%}, repeats differ by {each.noise:.0%}"
            for each in verdicts
        ),
    ]
    if found.lower.probes:
        notes.append(
            "# The tier below HBM: how long its loads take; its read_gib_per_s goes with the file's "
            "kv_bytes_per_token. Its size was not probed."
        )
    else:
        notes.append(f"# No tier below HBM was seen: {found.lower.told}.")
    unseen = ["kv_bytes_per_token"]
    unseen += [] if found.pool_tokens else ["kv_capacity_tokens"]
    unseen += [] if found.block_tokens else ["block_tokens"]
    unseen += [] if found.batches.max_sequences else ["max_sequences"]
    unseen += [] if found.step_tokens else ["max_batched_tokens"]
    notes.append(f"# Not visible from outside, and left at defaults: {', '.join(unseen)}.")
    data = fleet.model_dump(mode="json", exclude_unset=True)
    data["cost"] = {"kind": "simple", **fleet.cost.model_dump(mode="json", exclude_unset=True)}
    return "\n".join(notes) + "\n" + yaml.safe_dump(data, sort_keys=False)


def _rounded(value: float) -> float:
    return float(f"{value:.4g}")


def _say(text: str) -> None:
    print(f"calibrate: {text}", file=sys.stderr, flush=True)
