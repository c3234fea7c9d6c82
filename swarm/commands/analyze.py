"""`swarm analyze`: trace files in, one JSON value and a report out."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from swarm.commands.broken_traces import handler, nothing_in, tell_others
from swarm.config.prices import PricesConfig
from swarm.config.read import read_prices
from swarm.errors import TraceError, UsageError
from swarm.report.live.progress import Progress
from swarm.reuse.analysis import assemble
from swarm.reuse.cost import cost_table
from swarm.reuse.curves import TtlResult, ttl_us
from swarm.reuse.paid import Paid
from swarm.reuse.sizing import sizing_table
from swarm.reuse.survey import Survey, Surveyed
from swarm.units import counted
from swarm.workload.formats import Opened, open_format
from swarm.workload.formats.agent_logs.logged import provenance
from swarm.workload.formats.files import sizes

TTLS_S: tuple[float | None, ...] = (60.0, 300.0, 3600.0, None)
CAPACITIES: tuple[int | None, ...] = (
    500_000,
    1_000_000,
    2_000_000,
    5_000_000,
    10_000_000,
    20_000_000,
    50_000_000,
)
TARGETS = (0.5, 0.8, 0.9, 0.95)

SECONDS_MAX = 1e10
"""Of a TTL: microseconds stay exact in 64 bits."""
CAPACITY_MAX = 2.0**62
"""Tokens."""


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked about the traces."""

    ttls_s: tuple[float | None, ...]
    capacities: tuple[int | None, ...]
    targets: tuple[float, ...]
    kv_bytes_per_token: float | None
    prices: PricesConfig


def analyze(
    paths: Sequence[Path],
    *,
    question: Question,
    format: str,
    on_broken: str,
    json_path: Path | None,
    out: Path | None,
) -> int:
    """Analyze the traces; write the JSON, the report folder or both, and print where."""
    opened = open_format(format)
    _check_out(out)
    surveyed, analysis, results = analyzed(opened, paths, question=question, on_broken=on_broken)
    content = orjson.dumps(analysis, option=orjson.OPT_INDENT_2) + b"\n"
    if json_path is not None:
        _write(json_path, content)
    if out is not None:
        # The charts' library takes longer to import than the traces to read; only a report needs it.
        from swarm.report.analysis.page import write_analysis

        out.mkdir(parents=True, exist_ok=True)
        (out / "analysis.json").write_bytes(content)
        write_analysis(out, surveyed=surveyed, analysis=analysis, results=results)
    if json_path is None:
        from swarm.report.analysis.terminal import show_analysis

        show_analysis(analysis)
    if out is not None:
        print(out.absolute(), flush=True)
    return 0


def ask(
    *, ttls: str, capacities: str, targets: str, kv_bytes_per_token: float | None, prices: Path | None
) -> Question:
    """Return the question that the command line's texts ask."""
    return Question(
        ttls_s=parse_ttls(ttls),
        capacities=parse_capacities(capacities),
        targets=parse_targets(targets),
        kv_bytes_per_token=kv_bytes_per_token,
        prices=PricesConfig() if prices is None else read_prices(prices),
    )


def kv_bytes(given: float | None, model: str | None, precision: str) -> float | None:
    """Return the KV bytes of a token: as given, or those of a model, all GPUs together."""
    if model is None:
        return given
    if given is not None:
        raise UsageError("--kv-bytes-per-token and --model: give one of them")
    from swarm.fleet.catalog.read import find_model
    from swarm.fleet.cost.kernels import KV_BYTES
    from swarm.fleet.cost.model import kv_values_per_token

    if precision not in KV_BYTES:
        raise UsageError(f"--kv-precision {precision}: must be one of {', '.join(KV_BYTES)}")
    return float(kv_values_per_token(find_model(model, "--model")) * KV_BYTES[precision])


def stated(format: str, block_size: int | None, rows: str | None) -> str:
    """Return the format's specification with what single options state."""
    name, _, settings = format.partition(":")
    said = [settings] if settings else []
    said += [f"block_tokens={block_size}"] if block_size is not None else []
    said += [f"rows={rows}"] if rows is not None else []
    spec = f"{name}:{','.join(said)}" if said else name
    try:
        open_format(spec)
    except UsageError as fault:
        asked = [f"--block-size {block_size}"] if block_size is not None else []
        asked += [f"--rows {rows}"] if rows is not None else []
        raise UsageError(f"{' and '.join(asked)}: {fault}" if asked else str(fault)) from None
    return spec


def _check_out(out: Path | None) -> None:
    if out is not None and out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UsageError(f"--out {out}: must be absent or an empty folder")


def answer(
    surveyed: Surveyed, *, question: Question, broken: Sequence[TraceError]
) -> tuple[dict[str, Any], list[TtlResult]]:
    """Return the whole analysis of what was surveyed."""
    analysis, results = assemble(
        surveyed, ttls_s=question.ttls_s, capacities=question.capacities, broken=broken
    )
    analysis["cost"] = cost_table(surveyed, results, question.prices)
    analysis["sizing"] = None
    if question.kv_bytes_per_token is not None:
        analysis["sizing"] = sizing_table(
            surveyed.reuse,
            results,
            input_tokens=analysis["input_tokens"],
            targets=question.targets,
            kv_bytes_per_token=question.kv_bytes_per_token,
        )
    return analysis, results


def analyzed(
    opened: Opened, paths: Sequence[Path], *, question: Question, on_broken: str
) -> tuple[Surveyed, dict[str, Any], list[TtlResult]]:
    """Read traces once; return their columns, the whole analysis, and the results by TTL."""
    paid = Paid()
    surveyed, broken = survey(opened, paths, paid, question=question, on_broken=on_broken)
    analysis, results = answer(surveyed, question=question, broken=broken)
    analysis["provenance"] = provenance(opened.tallies)
    analysis["recorded"] = paid.recorded(surveyed, question.prices)
    analysis["waits"] = paid.waits()
    return surveyed, analysis, results


def survey(
    opened: Opened, paths: Sequence[Path], paid: Paid, *, question: Question, on_broken: str
) -> tuple[Surveyed, list[TraceError]]:
    """Read the traces once; each broken part is named on stderr, and ends the reading unless skipped."""
    handle, broken = handler(on_broken, opened)
    finite = [ttl for ttl in map(ttl_us, question.ttls_s) if ttl is not None]
    survey = Survey(finite, handle)
    units = opened.units(opened.files(paths, tell_others), tell_others)
    with Progress("read", [sum(sizes(unit)) for unit in units], sys.stderr) as progress:
        for unit in units:
            for session in opened.read_unit(unit, handle):
                survey.add(session)
                paid.add(session)
            progress.step(f"{survey.requests} requests")
        progress.note("finding what lies between uses")
        surveyed = survey.finish()
    if not len(surveyed.at_us):
        files = counted(sum(map(len, units)), "file")
        raise nothing_in(files, opened.tallies)
    return surveyed, broken


def parse_ttls(text: str) -> tuple[float | None, ...]:
    """Return TTLs in seconds of a list such as `60,300,inf`; inf is None."""
    return tuple(_positive("--ttl", word, SECONDS_MAX) for word in text.split(",") if word.strip())


def parse_capacities(text: str) -> tuple[int | None, ...]:
    """Return capacities in tokens of a list such as `500000,5e6,inf`; inf is None."""
    sizes = (_positive("--capacity", word, CAPACITY_MAX) for word in text.split(",") if word.strip())
    return tuple(None if size is None else int(size) for size in sizes)


def parse_targets(text: str) -> tuple[float, ...]:
    """Return hit rates of a list such as `0.5,0.9`."""
    targets = tuple(
        _positive("--target-hit-rate", word, float("inf")) for word in text.split(",") if word.strip()
    )
    if any(target is None or target > 1 for target in targets):
        raise UsageError(f"--target-hit-rate {text}: hit rates lie between 0 and 1")
    return tuple(target for target in targets if target is not None)


def _positive(option: str, word: str, most: float) -> float | None:
    try:
        value = float(word)
    except ValueError:
        raise UsageError(f"{option} {word}: must be a list of numbers or inf, such as 60,300,inf") from None
    if not value >= 0:
        raise UsageError(f"{option} {word}: must be a number from 0 on")
    if value > most and value != float("inf"):
        raise UsageError(f"{option} {word}: must be at most {most:g}, or inf")
    return None if value == float("inf") else value


def _write(path: Path, content: bytes) -> None:
    if str(path) == "-":
        sys.stdout.buffer.write(content)
        sys.stdout.flush()
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    print(path.absolute(), flush=True)
