"""Hold the fleet twin to what was published, and write docs/accuracy.md: prediction beside measurement.

    python scripts/ledger.py DATA [--rows] [--only [NAME ...]] [--write]

DATA holds published_cliffs.json, published_tier_results.json and gpu_serving_measurements.csv.gz. Nothing is
fitted on a case. `--rows` predicts the measured rows anew, each by constants fitted without its family, its
GPU or its format (minutes). `--only` plays the cases whose names begin so, and none where no name is given:
`--rows --only` is the rows alone. What is not made anew stays on the page as it was.
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from fit_roofline import KEYS, START, Row, left_out, read_rows
from ledger_cases import Case, Line, by_length, collapse, hicache, ladder, offload
from validate_published import long_prompt

PAGE = Path(__file__).parents[1] / "docs" / "accuracy.md"
ROWS, CASES = "<!-- rows -->\n", "<!-- cases -->\n"
LONG_PROMPT = "MiniMax-M2.7, 131,072 tokens, nine tenths cached"
ELSEWHERE = "Kimi-K3 on 8 x B300 and Mooncake's curves of capacity are in docs/validation.md.\n"
BANDS = (8, 32, 128, 100_000)
PLAYED: dict[str, Callable[[dict[str, Any]], Case]] = {
    "agentic-kvc": by_length,
    "Mooncake HiCache": hicache,
    "SGLang PR #27010": collapse,
    "llm-d CPU offload": offload,
    "llm-d routing ladder": ladder,
}
"""By how a case's name begins."""
HEAD = """\
# Ledger: predicted and measured

Written by `python scripts/ledger.py DATA --rows --write`. Errors are predicted / measured - 1. No constant
was fitted on a case. Where a record leaves something open, the guess is stated and swept: the last column
shows what another guess gives.

"""
NOT_MODELLED = """\
## What is not modelled

- Versions of an engine: two of them differ by up to a factor of two on the same setup.
- Speculative decoding that a record does not state. Such runs are told by their speed and are not fitted on.
- Attention data parallel in the measured rows; disaggregated rows; unstated precision.
- Jitter of the host: TTFT of a hit below 50 ms is mostly that.
- What a load of vLLM's waits for besides its copy, until the scheduler looks again: 13 ms at 1,024 tokens in
  the first case, 25 ms in vLLM's pull 27743, next to nothing in its blog of 2026-01-08. No value fits all.
- Why SGLang's host pool lets go sooner than an LRU of its 623,338 tokens: 8 points at rounds 4 and 5, where
  200 random orders of the clients differ by 1 and 3. One of 594,000 tokens hits 0.64 and 0.39.
- What rounds 2 to 5 over Mooncake's pool take besides look-ups and copies as measured elsewhere: 13 to 26 %
  more, beyond what all arms of that case take longer than predicted, a third.
- Decoding takes 1 to 10 % longer than predicted in the arms of llm-d's closed loop, and what a request
  decodes longer others wait longer for the pool.
- Fragmentation of an engine's blocks, and what it reserves for reshuffling.
"""


def rows_section(path: Path) -> str:
    """Return the errors on measured rows, each predicted by constants that have not seen its like."""
    rows, _ = read_rows(path)
    found = {name: left_out(rows, START, KEYS[name]) for name in ("family", "GPU", "precision")}
    return ROWS + "\n".join(rows_lines(rows, found)) + "\n"


def rows_lines(rows: list[Row], found: dict[str, np.ndarray]) -> list[str]:
    """Return the tables: over all rows by what was left out, then by family, GPU and format."""
    truth = np.array([(row.ttft_s, row.tpot_s) for row in rows])
    load = np.array([row.loop.concurrency for row in rows])
    drafts = np.array([row.drafts for row in rows])
    band = np.searchsorted(BANDS, load)
    lines = [
        "## Measured rows of served models",
        "",
        f"{len(rows)} rows of aggregated serving (docs/cost-model.md says which are left out),",
        f"{drafts.sum()} of them in runs that plainly speculate unsaid: in the figures, not fitted on.",
        "Each is predicted by constants fitted without any row of its family, its GPU, or its format.",
        "`told`: a regression of TTFT on lengths, concurrency and the row's measured TPOT, on the same rows.",
        "",
        "| left out | TPOT median | p90 | bias, c <= 8 | <= 32 | <= 128 | more | TTFT median | told | c <= 8 "
        "| told |",
        "| --- " * 11 + "|",
    ]
    told = {name: regression(rows, truth, [KEYS[name](row) for row in rows]) for name in found}
    for name, predicted in found.items():
        lines.append(line_of(name, predicted / truth - 1, told[name] / truth[:, 0] - 1, band))
        spared = ~drafts
        part = (predicted / truth - 1)[spared], (told[name] / truth[:, 0] - 1)[spared], band[spared]
        lines.append(line_of(f"{name}, none that speculate", *part))
    lines += ["", "| | rows | TPOT median | p90 | bias | bias, c <= 8 | <= 32 | <= 128 |", "| --- " * 8 + "|"]
    for name, predicted in found.items():
        error = predicted[:, 1] / truth[:, 1] - 1
        keys = np.array([KEYS[name](row) for row in rows])
        for key in sorted(set(keys)):
            part = keys == key
            biases = " | ".join(percent(np.median(error[part & (band == one)])) for one in range(3))
            size = np.abs(error[part])
            lines.append(
                f"| {key} | {part.sum()} | {percent(np.median(size))} | {percent(np.quantile(size, 0.9))} | "
                f"{percent(np.median(error[part]))} | {biases} |"
            )
    return [*lines, *noise_lines(rows)]


def noise_lines(rows: list[Row]) -> list[str]:
    """Return by how much rows of one stated setup differ: what no model of that setup can tell.

    As a model would that knew the other rows of the setup (their median), and one that knew all of them.
    """
    setups: dict[tuple[object, ...], list[Row]] = {}
    for row in rows:
        setups.setdefault((row.served, row.loop), []).append(row)
    several = [group for group in setups.values() if len(group) > 1]
    lines = [
        "",
        f"{sum(map(len, several))} rows share all that they state (model, GPUs, engine, format, lengths,",
        f"concurrency) with another: {len(several)} setups. By how much their TPOT differs, measured on",
        "another day or with another version, bounds what any model can reach:",
        "",
        "| of | rows | another row tells: median | p90 | all of them tell: median | p90 |",
        "| --- " * 6 + "|",
    ]
    parts = {"all": several}
    for name in ("family", "GPU"):
        for key in sorted({KEYS[name](group[0]) for group in several}):
            parts[key] = [group for group in several if KEYS[name](group[0]) == key]
    for key, groups in parts.items():
        lines += noise_line(key, groups)
        lines += noise_line(
            f"{key}, none that speculate", [[row for row in group if not row.drafts] for group in groups]
        )
    return lines


def noise_line(title: str, groups: list[list[Row]]) -> list[str]:
    """Return a line of that table, or none where no two rows share a setup."""
    others, own = [], []
    for group in groups:
        times = np.log([row.tpot_s for row in group])
        if len(times) > 1:
            others += [abs(times[at] - np.median(np.delete(times, at))) for at in range(len(times))]
            own += list(np.abs(times - np.median(times)))
    if not others:
        return []
    cells = [percent(np.expm1(np.quantile(one, at))) for one in (others, own) for at in (0.5, 0.9)]
    return [f"| {title} | {len(others)} | " + " | ".join(cells) + " |"]


def line_of(name: str, error: np.ndarray, told: np.ndarray, band: np.ndarray) -> str:
    """Return a line of the table of what was left out."""
    size = np.abs(error)
    few = band == 0
    cells = [percent(np.median(size[:, 1])), percent(np.quantile(size[:, 1], 0.9))]
    cells += [percent(np.median(error[band == one, 1])) for one in range(len(BANDS))]
    cells += [percent(np.median(size[:, 0])), percent(np.median(np.abs(told)))]
    cells += [percent(np.median(size[few, 0])), percent(np.median(np.abs(told[few])))]
    return f"| {name} | " + " | ".join(cells) + " |"


def regression(rows: list[Row], truth: np.ndarray, keys: list[str]) -> np.ndarray:
    """Return TTFT by a regression of least absolute log error that is told each row's measured TPOT."""
    prompt = np.log([row.loop.prompt_tokens for row in rows])
    columns = [np.ones(len(rows)), prompt, prompt**2, np.log([row.loop.concurrency for row in rows])]
    table = np.stack([*columns, np.log(truth[:, 1])], axis=1)
    wanted, out = np.log(truth[:, 0]), np.empty(len(rows))
    for key in sorted(set(keys)):
        mine = np.array(keys) == key
        x, y, weight = table[~mine], wanted[~mine], np.ones((~mine).sum())
        for _ in range(30):
            found = np.linalg.lstsq(x * weight[:, None], y * weight, rcond=None)[0]
            weight = np.maximum(np.abs(y - x @ found), 0.05) ** -0.5
        out[mine] = np.exp(table[mine] @ found)
    return out


def case_lines(case: Case) -> list[str]:
    """Return a case as text."""
    lines = [
        f"### {case.name}",
        "",
        f"Source: {case.source}. Setup: {case.setup}. Source's noise: {case.noise}.",
    ]
    lines += [
        f"Assumed: {case.assumed}.",
        "",
        "| | predicted | measured | error | other guess |",
        "| --- " * 5 + "|",
    ]
    return [*lines, *(figure(line) for line in case.lines), ""]


def figure(line: Line) -> str:
    """Return a line of a case's table: rates by their difference, the rest by their ratio."""
    if "hit rate" in line.what:
        error = f"{100 * (line.predicted - line.measured):+.1f} points"
    else:
        error = percent(line.predicted / line.measured - 1) if line.measured else "-"
    swept = ", ".join(f"{one:.3g}" for one in line.swept) or "-"
    return f"| {line.what} | {line.predicted:.3g} | {line.measured:.3g} | {error} | {swept} |"


def percent(value: float) -> str:
    """Return a share as percent."""
    return f"{100 * value:+.1f} %" if value < 0 else f"{100 * value:.1f} %"


def cases_of(data: Path, only: list[str] | None) -> dict[str, str | None]:
    """Return each case as text by its name, in the page's order; None for one that is not to be played.

    Those that cannot be set up are named with what is missing.
    """
    found: dict[str, str | None] = {}
    for record in json.loads((data / "published_cliffs.json").read_text())["cases"]:
        name = record["name"]
        play = next((one for begins, one in PLAYED.items() if name.startswith(begins)), None)
        if play is None:
            missing = ", ".join(record["must_guess"])
            found[name] = f"### {name}\n\nNot played: {missing} not stated.\n\n"
        elif is_wanted(name, only):
            found[name] = "\n".join(case_lines(play(record))) + "\n"
            print(found[name], flush=True)
        else:
            found[name] = None
    found[LONG_PROMPT] = None
    if is_wanted(LONG_PROMPT, only):
        tiers = json.loads((data / "published_tier_results.json").read_text())
        found[LONG_PROMPT] = "\n".join([f"### {LONG_PROMPT}", "", *long_prompt(tiers), "", ""])
        print(found[LONG_PROMPT], flush=True)
    return found


def is_wanted(name: str, only: list[str] | None) -> bool:
    """Return whether a case is to be played: all are where `only` is None."""
    return only is None or any(name.startswith(begins) for begins in only)


def rewritten(page: str, rows: str | None, cases: dict[str, str | None]) -> str:
    """Return the page with these rows and cases; what is None stays as it was."""
    before, _, after = page.partition(CASES)
    old = re.findall(r"^### (.+)\n((?:(?!### ).*\n)*)", after.partition(ELSEWHERE)[0], re.MULTILINE)
    kept = {name: f"### {name}\n{text}" for name, text in old}
    rows = rows or ROWS + before.partition(ROWS)[2].rstrip("\n") + "\n"
    texts = (kept.get(name, "") if text is None else text for name, text in cases.items())
    return HEAD + rows + "\n" + CASES + "## Cases\n\n" + "".join(texts) + ELSEWHERE + "\n" + NOT_MODELLED


def main() -> None:
    """Play, print, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--rows", action="store_true", help="predict the measured rows anew")
    parser.add_argument("--only", nargs="*", metavar="NAME", help="cases, by how their names begin")
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    rows = None
    if options.rows:
        rows = rows_section(options.data / "gpu_serving_measurements.csv.gz")
        print(rows)
    cases = cases_of(options.data, options.only)
    if options.write:
        PAGE.write_text(rewritten(PAGE.read_text() if PAGE.exists() else "", rows, cases))


if __name__ == "__main__":
    main()
