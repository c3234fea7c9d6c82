"""Fit the roofline's constants on measured TTFT and TPOT, and say how far off it is on what was left out.

    python scripts/fit_roofline.py MEASUREMENTS.csv.gz [--write]

The rows are a closed loop at fixed concurrency. Leave-family-out fits the constants without any row of a
model family and looks at that family; leave-GPU-out does so for a GPU. `--write` puts the constants fitted on
all rows into the catalogue, and the tables of errors into docs/.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import yaml

from swarm.config.catalog import RooflineConstants
from swarm.config.fleet import ParallelismConfig
from swarm.fleet.catalog.read import FOLDER, find_gpu, find_model, kernels
from swarm.fleet.cost.base import Entry
from swarm.fleet.cost.closed_loop import Loop, pace_of
from swarm.fleet.cost.roofline import Roofline
from swarm.fleet.cost.served import Served
from swarm.fleet.cost.terms import terms_of

MAX_BATCHED_TOKENS = 8192
REQUESTS_PER_SLOT = 10
"""InferenceX sends ten times as many prompts as its concurrency (--num-prompts $((CONC * 10)))."""
SPREAD_SHAPES = {(1024, 1024), (1024, 8192), (8192, 1024)}
MEAN_LENGTH = 0.9
"""Of the length stated, in those shapes: InferenceX draws from [0.8, 1] of it (--random-range-ratio 0.8)."""
ENGINES = ("vllm", "sglang", "trtllm")
FLOORS = ("hopper", "blackwell")
START = RooflineConstants(
    gemm_pace=1.0,
    expert_pace=1.0,
    kv_pace=1.0,
    exchange_pace=1.0,
    floor_pace=dict.fromkeys(FLOORS, 1.0),
    expert_spread=0.8,
    layer_s=dict.fromkeys(ENGINES, 1e-5),
    step_s=dict.fromkeys(ENGINES, 1e-3),
    sequence_s=1e-5,
    prompt_s=1e-4,
    entry_s=dict.fromkeys(ENGINES, 0.003),
    entry_token_s=1e-6,
    entry_steps={"vllm": 2.0, "sglang": 7.0, "trtllm": 4.0},
    activation_bytes=3e9,
    measured_tokens_max=15000,
)
"""Guesses that no row has seen: where every fit starts, and what it falls back to."""
CAPPED = 0.1
"""A TTFT beyond this share of the decode time, and of two seconds, is a wait for admission."""
CAPPED_S = 2.0
DRAFTED = 0.75
SINKING = 0.87
"""TPOT of replies of 8,192 tokens over that of 1,024: six runs are at 0.80-0.86, others at 0.88-1.05."""
FEW = 16
"""Requests at once: beyond them what prompts take of others' tokens is as much."""
SAME = 1e-3
"""Log difference of times that rounding makes."""
TTFT_CONCURRENCY_MAX = 8
FIT_ROWS_MAX = 40
HEAD = """\
# Fitted by scripts/fit_roofline.py on measured rows; docs/cost-model.md says what each is and how far off.
"""
KV: dict[str, Literal["bf16", "fp8"]] = {"bf16": "bf16", "fp8": "fp8", "fp4": "fp8"}
BY_ENGINE = ("layer_s", "step_s", "entry_s", "entry_steps")
FITTED = (
    "gemm_pace",
    "expert_pace",
    "kv_pace",
    "exchange_pace",
    "expert_spread",
    "sequence_s",
    "prompt_s",
    "entry_token_s",
    *(f"floor_pace.{kind}" for kind in FLOORS),
    *(f"{name}.{engine}" for name in BY_ENGINE for engine in ENGINES),
)


@dataclass(frozen=True)
class Row:
    """One measurement."""

    served: Served
    loop: Loop
    ttft_s: float
    tpot_s: float
    drafts: bool
    """Of a version that plainly drafts tokens, which the data does not state: checked, never fitted on."""


def read_rows(path: Path) -> tuple[list[Row], dict[str, int]]:
    """Return the usable rows, and how many were left out for what."""
    table = pd.read_csv(path, low_memory=False)
    table["c"] = table.silicon_data_source.str.extract(r"silicon_concurrency=(\d+)").astype(float)
    left: dict[str, int] = {}

    def keep(reason: str, kept: pd.Series) -> None:
        nonlocal table
        left[reason] = int((~kept).sum())
        table = table[kept]

    keep("disaggregated", table["mode"] == "agg")
    keep("attention data parallel", ~(table.attention_dp_size > 1))
    keep("no concurrency stated", table.c.notna())
    keep("concurrency over several instances", table.c == table.batch_size)
    keep("no precision stated", table.precision.notna())
    table = table.assign(model=[find_model(path).name for path in table.model_path])
    shape = ["model", "system", "backend", "precision", "isl", "osl", "tp_size", "moe_tp_size"]
    values = ["moe_ep_size", "pp_size", "c", "silicon_ttft_ms", "silicon_tpot_ms"]
    keep("the same row again", ~table.duplicated([*shape, *values]))
    # Some rows state tp as the product with ep: an 8-GPU server has no tp of 64, and 16 there is 4 x 4.
    twice = (table.tp_size > 8) & (table.moe_tp_size == table.moe_ep_size)
    table = table.assign(tp=table.tp_size.where(~twice, table.moe_tp_size))
    keep("more GPUs than one server", table.tp <= 8)
    served = ["model", "system", "backend", "precision", "isl", "osl", "tp", "moe_ep_size", "pp_size", "c"]
    keep("the same row again, rounded", ~_copies(table, served))
    ttft_s, decode_s = table.silicon_ttft_ms / 1e3, table.silicon_tpot_ms * table.osl / 1e3
    keep("capped by admission", ~((ttft_s > CAPPED * decode_s) & (ttft_s > CAPPED_S)))
    table = table.assign(drafts=_drafts(table, served))
    return [_row(row) for row in table.itertuples()], left


def _copies(table: pd.DataFrame, setup: list[str]) -> pd.Series:
    """Say which rows repeat an earlier one's setup and, but for rounding, its times."""
    found = pd.Series(False, index=table.index)
    for _, group in table.groupby(setup):
        times = np.log(group[["silicon_ttft_ms", "silicon_tpot_ms"]].to_numpy(float))
        for at in range(1, len(group)):
            apart = np.abs(times[:at] - times[at]).max(axis=1)
            found[group.index[at]] = bool((apart < SAME).any())
    return found


def _drafts(table: pd.DataFrame, setup: list[str]) -> pd.Series:
    """Say which rows speculate without saying so, by two signs that runs of a day and version show.

    They take three quarters of another's time on the same setups. Or replies of 8,192 tokens take clearly
    less a token than those of 1,024 behind the same prompt, where few requests run: no context that grows
    makes a step shorter, but long replies repeat themselves, and more of what is drafted is accepted.
    """
    source = table.silicon_data_source
    table = table.assign(
        file=source.str.partition(";")[0],
        day=source.str.extract(r"measured=([\d-]{10})", expand=False).fillna("unknown"),
        backend_version=table.backend_version.fillna("unknown"),
    )
    slowest = table.groupby(setup).silicon_tpot_ms.transform("max")
    several = table.groupby(setup).silicon_tpot_ms.transform("count") > 1
    run = ["model", "system", "precision", "backend", "backend_version", "day", "file"]
    shares = (table.silicon_tpot_ms / slowest).where(several).groupby([table[name] for name in run]).median()
    alike = [*run, *(name for name in setup if name not in (*run, "isl", "osl"))]
    few = table[(table.isl == 1024) & (table.c <= FEW)]
    short, long = (few[few.osl == osl].groupby(alike).silicon_tpot_ms.min() for osl in (1024, 8192))
    sinks = (long / short).groupby(level=run).median()
    runs = pd.MultiIndex.from_frame(table[run])
    found = shares.reindex(runs).le(DRAFTED).to_numpy() | sinks.reindex(runs).le(SINKING).to_numpy()
    return pd.Series(found, index=table.index)


def _row(row: Any) -> Row:
    served = Served(
        model=find_model(row.model_path),
        gpu=find_gpu(row.system),
        parallelism=ParallelismConfig(tp=int(row.tp), pp=int(row.pp_size), ep=max(1, int(row.moe_ep_size))),
        precision=row.precision,
        kv_precision=KV[row.precision],
        backend=row.backend,
        eager=False,
        speculative=None,
    )
    isl, osl = int(row.isl), int(row.osl)
    mean = MEAN_LENGTH if (isl, osl) in SPREAD_SHAPES else 1.0
    loop = Loop(int(row.c), round(isl * mean), round(osl * mean), MAX_BATCHED_TOKENS, REQUESTS_PER_SLOT)
    return Row(served, loop, row.silicon_ttft_ms / 1e3, row.silicon_tpot_ms / 1e3, bool(row.drafts))


def get(base: RooflineConstants, name: str) -> float:
    """Return a constant by its dotted name."""
    head, _, key = name.partition(".")
    value: Any = getattr(base, head)
    return float(value[key] if key else value)


def put(base: RooflineConstants, values: dict[str, float]) -> RooflineConstants:
    """Return constants with some replaced."""
    data = base.model_dump()
    for name, value in values.items():
        head, _, key = name.partition(".")
        if key:
            data[head][key] = value
        else:
            data[head] = value
    return RooflineConstants(**data)


def predict(rows: list[Row], base: RooflineConstants) -> np.ndarray:
    """Return TTFT and TPOT of each row."""
    known: dict[tuple[Any, ...], Roofline] = {}
    out = np.empty((len(rows), 2))
    for at, row in enumerate(rows):
        served = row.served
        key = (
            served.model.name,
            served.gpu.name,
            served.parallelism,
            served.precision,
            served.kv_precision,
            served.backend,
        )
        cost = known.get(key)
        if cost is None:
            cost = known[key] = Roofline(terms_of(served, kernels(), base))
        backend = served.backend
        entry = Entry(base.entry_s[backend], base.entry_steps[backend], base.entry_token_s)
        pace = pace_of(cost, entry, row.loop)
        out[at] = pace.ttft_s, pace.tpot_s
    return out


def sample(rows: list[Row]) -> list[Row]:
    """Return rows to fit on: of a model on a GPU by a backend at most so many, evenly over the file."""
    groups: dict[tuple[str, str, str], list[Row]] = {}
    for row in rows:
        key = (row.served.model.name, row.served.gpu.name, row.served.backend)
        groups.setdefault(key, []).append(row)
    return [row for group in groups.values() for row in group[:: math.ceil(len(group) / FIT_ROWS_MAX)]]


def weights_of_rows(rows: list[Row]) -> np.ndarray:
    """Weigh rows so that a model on a GPU counts by the root of its rows."""
    keys = [(row.served.model.family, row.served.gpu.name) for row in rows]
    counts = {key: keys.count(key) for key in set(keys)}
    weight = np.array([counts[key] ** -0.25 for key in keys])
    balanced: np.ndarray = weight / weight.mean()
    return balanced


def fit(rows: list[Row], base: RooflineConstants, log: bool = False) -> RooflineConstants:
    """Return the constants of least absolute log error.

    All of them on TTFT and TPOT at first; then, with steps as they are, those of the way to the queue on TTFT
    alone, where little else waits.
    """
    rows = [row for row in rows if not row.drafts]
    some = sample(rows)
    weight = weights_of_rows(some)
    low = np.array([row.loop.concurrency <= TTFT_CONCURRENCY_MAX for row in some])
    rank = np.stack([weight * np.where(low, TTFT_WEIGHT, 0.1), weight], axis=1)
    steps = descend(some, base, FITTED, rank, log)
    some = [row for row in rows if row.loop.concurrency <= TTFT_CONCURRENCY_MAX]
    weight = weights_of_rows(some)
    rank = np.stack([weight, np.zeros(len(some))], axis=1)
    entry = tuple(name for name in FITTED if name.startswith("entry"))
    return descend(some, put(steps, {name: get(base, name) for name in entry}), entry, rank, log)


def descend(
    rows: list[Row], base: RooflineConstants, names: tuple[str, ...], rank: np.ndarray, log: bool
) -> RooflineConstants:
    """Return `base` with the named constants moved by reweighted Levenberg-Marquardt steps.

    `rank` (rows, 2) weighs the errors of TTFT and TPOT.
    """
    truth = np.log([(row.ttft_s, row.tpot_s) for row in rows])
    x = np.log([get(base, name) for name in names])
    prior = x.copy()
    pull = np.array([PULL.get(name.partition(".")[0], PRIOR) for name in names])

    def errors(at: np.ndarray) -> np.ndarray:
        found: np.ndarray = np.log(predict(rows, put(base, limited(at)))) - truth
        return found

    def limited(at: np.ndarray) -> dict[str, float]:
        return {
            name: float(min(np.exp(value), 1.0) if "spread" in name else np.exp(value))
            for name, value in zip(names, at, strict=True)
        }

    def loss(error: np.ndarray, at: np.ndarray) -> float:
        return float((rank * np.abs(error)).sum() + (pull * (at - prior) ** 2).sum())

    error, damping = errors(x), 1.0
    best = loss(error, x)
    for number in range(ROUNDS):
        jacobian = np.empty((error.size, len(x)))
        for at in range(len(x)):
            moved = x.copy()
            moved[at] += 0.02
            jacobian[:, at] = (errors(moved) - error).ravel() / 0.02
        robust = (rank / np.maximum(np.abs(error), 0.05)).ravel()
        normal = jacobian.T @ (robust[:, None] * jacobian) + np.diag(pull)
        gradient = jacobian.T @ (robust * error.ravel()) + pull * (x - prior)
        for _ in range(6):
            step = np.linalg.solve(normal + damping * np.diag(np.diag(normal)), -gradient)
            tried = x + np.clip(step, -0.7, 0.7)
            tried_error = errors(tried)
            if (value := loss(tried_error, tried)) < best:
                improved = best - value
                x, error, best, damping = tried, tried_error, value, damping / 4
                break
            damping *= 4
        else:
            break
        if log:
            print(f"round {number}: loss {best:.2f}", file=sys.stderr)
        if improved < 1e-4 * best:
            break
    return put(base, limited(x))


PRIOR = 20.0
PULL = {"entry_steps": 1.0, "floor_pace": 40.0, "layer_s": 4.0, "step_s": 1.0}
"""Pull of the starting values, in squared log units: what the rows say nothing of stays where it was.

How many steps a request waits before its queue is a setting of the engine: no guess is worth holding to.
"""
TTFT_WEIGHT = 1.0
ROUNDS = 8


def table(rows: list[Row], predicted: np.ndarray, key: Callable[[Row], str]) -> pd.DataFrame:
    """Return the errors by a key: medians and 90th percentiles of the relative error."""
    frame = pd.DataFrame(
        {
            "key": [key(row) for row in rows],
            "tpot": np.abs(predicted[:, 1] / [row.tpot_s for row in rows] - 1),
            "bias": predicted[:, 1] / [row.tpot_s for row in rows] - 1,
            "ttft": np.abs(predicted[:, 0] / [row.ttft_s for row in rows] - 1),
            "ttft_bias": predicted[:, 0] / [row.ttft_s for row in rows] - 1,
            "low": [row.loop.concurrency <= TTFT_CONCURRENCY_MAX for row in rows],
        }
    )
    lines = []
    for name, part in [*frame.groupby("key"), ("all", frame)]:
        low = part[part.low]
        lines.append(
            {
                "": name,
                "rows": len(part),
                "TPOT median": part.tpot.median(),
                "TPOT p90": part.tpot.quantile(0.9),
                "TPOT bias": part.bias.median(),
                "rows, c <= 8": len(low),
                "TTFT median": low.ttft.median(),
                "TTFT p90": low.ttft.quantile(0.9),
                "TTFT bias": low.ttft_bias.median(),
            }
        )
    return pd.DataFrame(lines).set_index("")


def left_out(rows: list[Row], base: RooflineConstants, key: Callable[[Row], str]) -> np.ndarray:
    """Return predictions of each row by constants fitted without the rows that share its key."""
    out = np.empty((len(rows), 2))
    for name in sorted({key(row) for row in rows}):
        fitted = fit([row for row in rows if key(row) != name], base)
        chosen = [at for at, row in enumerate(rows) if key(row) == name]
        out[chosen] = predict([rows[at] for at in chosen], fitted)
    return out


def main() -> None:
    """Fit, check, tell."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("measurements", type=Path)
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--quick", action="store_true", help="no leaving out")
    parser.add_argument("--leave", nargs="*", default=["family", "GPU"], help="what to leave out")
    options = parser.parse_args()
    rows, left = read_rows(options.measurements)
    print(f"{len(rows)} rows; left out: {left}")
    pd.set_option("display.width", 200)
    pd.set_option("display.max_columns", 20)
    pd.set_option("display.float_format", "{:.3f}".format)
    fitted = fit(rows, START, log=True)
    print({name: float(f"{get(fitted, name):.4g}") for name in FITTED})
    predicted = predict(rows, fitted)
    for name, key in (
        KEYS.items()
        if not options.quick
        else [("family", KEYS["family"]), ("GPU", KEYS["GPU"]), ("backend", KEYS["backend"])]
    ):
        print(f"\nfitted on all, by {name}\n", table(rows, predicted, key))
    if options.write:
        rounded = put(fitted, {name: float(f"{get(fitted, name):.4g}") for name in FITTED})
        text = yaml.safe_dump(rounded.model_dump(), sort_keys=False)
        (FOLDER / "constants.yaml").write_text(HEAD + text)
    if not options.quick:
        for name in options.leave:
            print(f"\nleave-{name}-out\n", table(rows, left_out(rows, START, KEYS[name]), KEYS[name]))


KEYS: dict[str, Callable[[Row], str]] = {
    "family": lambda row: row.served.model.family,
    "GPU": lambda row: row.served.gpu.name,
    "backend": lambda row: row.served.backend,
    "precision": lambda row: row.served.precision,
    "concurrency": lambda row: next(
        f"{bound:5d}" for bound in (8, 32, 128, 100_000) if row.loop.concurrency <= bound
    ),
    "MoE at 8": lambda row: (
        f"{row.served.model.family} {row.served.backend} {row.served.precision} {row.served.gpu.name}"
        + (" <=8" if row.loop.concurrency <= 8 else "")
    ),
    "shape": lambda row: f"{row.loop.prompt_tokens}/{row.loop.output_tokens}",
    "tp": lambda row: str(row.served.parallelism.tp) + " ep" + str(row.served.parallelism.ep),
}

if __name__ == "__main__":
    main()
