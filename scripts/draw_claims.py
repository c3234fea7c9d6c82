"""Draw what vendors claim of a memory grid beside what the twin says of one; nothing is asserted.

    swarm simulate experiments/memory_tiers_decode.yaml --out RUN
    python scripts/draw_claims.py RUN published_tier_results.json --out claims.png

RUN is the folder of a sweep over `fleet.tiers` and `load.agents`. Its curves are factors over one memory: how
much more output, and how much sooner a first token. Claims (`kind: vendor`) are dashed lines at their factor:
they were made for other models, fleets and loads.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import altair as alt
import pandas as pd

from swarm.errors import UsageError
from swarm.report.charts import write_pictures

FACTORS = {"tokens_per_gpu_x": "output tokens/s", "ttft_x": "TTFT, shorter by"}
"""Members of a claim that say a factor, and what of."""


def curves(run: Path, over: str) -> pd.DataFrame:
    """Return each memory's factors over the one named `over`, by agents."""
    points = json.loads((run / "sweep.json").read_text())["points"]
    found: dict[tuple[str, int], tuple[float, float]] = {}
    for point in points:
        tiers, agents = point["labels"]["fleet.tiers"], int(point["labels"]["load.agents"])
        summary = point["summary"]
        found[tiers, agents] = (
            summary["throughput"]["output_tokens_per_s"],
            summary["effective_ttft_s"]["p50"],
        )
    if over not in {tiers for tiers, _ in found}:
        names = sorted({tiers for tiers, _ in found})
        raise UsageError(f"--over {over!r}: the sweep has {', '.join(map(repr, names))}")
    rows = []
    for (tiers, agents), (output, ttft_s) in found.items():
        base_output, base_ttft_s = found[over, agents]
        rows.append({"memory": tiers, "agents": agents, "of": "output tokens/s", "x": output / base_output})
        rows.append({"memory": tiers, "agents": agents, "of": "TTFT, shorter by", "x": base_ttft_s / ttft_s})
    return pd.DataFrame(rows)


def claims(published: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the factors that vendors claim, with who claims them and when they are to hold."""
    for target in published["targets"]:
        if target["kind"] != "vendor":
            continue
        for point in target["points"]:
            when = point.get("when") or ", ".join(
                f"{name} {value}" for name, value in point.items() if name in ("context", "hit")
            )
            for name, of in FACTORS.items():
                if name in point:
                    yield {"of": of, "x": point[name], "claim": f"{target['id']}: {point[name]}x, {when}"}


def chart(rows: pd.DataFrame, said: pd.DataFrame) -> alt.FacetChart:
    """Return the curves with the claims as dashed lines, one panel for each figure."""
    panels = []
    for of in FACTORS.values():
        scale = alt.Scale(type="log")
        lines = (
            alt.Chart(rows[rows["of"] == of], width=380, height=300, title=of)
            .mark_line(point=True)
            .encode(
                x=alt.X("agents:Q"),
                y=alt.Y("x:Q", scale=scale, title="factor"),
                color=alt.Color("memory:N", title=None),
            )
        )
        rules = alt.Chart(said[said["of"] == of]).mark_rule(strokeDash=[4, 4], opacity=0.6).encode(y="x:Q")
        texts = rules.mark_text(align="left", dx=4, dy=-6, fontSize=10).encode(x=alt.value(0), text="claim:N")
        panels.append(lines + rules + texts)
    return alt.hconcat(*panels)


def main() -> None:
    """Draw."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", type=Path)
    parser.add_argument("published", type=Path)
    parser.add_argument("--over", default="HBM + DRAM")
    parser.add_argument("--out", type=Path, default=Path("claims.png"))
    options = parser.parse_args()
    rows = curves(options.run, options.over)
    said = pd.DataFrame(list(claims(json.loads(options.published.read_text()))))
    out = options.out
    source = f"{options.run.name} against {options.published.name}"
    titles = {out.stem: "Claims and the curves they are read from"}
    write_pictures(out.parent, {out.stem: chart(rows, said)}, kinds=("png",), titles=titles, source=source)
    print(out)


if __name__ == "__main__":
    main()
