"""Where usage tells no cached tokens, the server's counters are the headline's hit rate."""

from __future__ import annotations

from dataclasses import replace

import pyarrow as pa
import pytest

from swarm.config.experiment import Experiment
from swarm.config.read import validate
from swarm.measure.summary import summarize
from swarm.measure.totals import ServerCounters, facts_of
from swarm.sim.run import simulate
from swarm.workload.source import Material

COUNTED = ServerCounters("vllm", 1, hit_tokens=300, query_tokens=1_000, output_tokens=9)


@pytest.fixture(scope="module")
def simulated() -> Experiment:
    workload = {"kind": "prompt_set", "prompts": 2, "prompt_tokens": 500, "turns": 4}
    load = {"agents": 2, "duration_s": 20.0, "replace": False}
    return validate(Experiment, {"name": "one", "workload": workload, "load": load}, "test")


@pytest.mark.parametrize(
    ("is_silent", "counters", "source"),
    [(False, COUNTED, "usage"), (True, COUNTED, "counters"), (True, None, None)],
)
def test_the_headline_is_what_is_known(
    simulated: Experiment, is_silent: bool, counters: ServerCounters | None, source: str | None
) -> None:
    results = simulate(simulated, Material())
    rows = results.rows
    if is_silent:
        at = rows.schema.get_field_index("cached_tokens")
        field = rows.schema.field(at)
        rows = rows.set_column(at, field, pa.nulls(rows.num_rows, field.type))
    facts = facts_of(simulated, run_id="one", mode="simulate", is_emulated=False)
    cache = summarize(rows, facts=facts, totals=replace(results.totals, counters=counters))["cache"]
    assert cache["hit_rate_from"] == source
    assert (cache["hit_rate"] == pytest.approx(0.3)) is (source == "counters")
    assert (cache["hit_rate"] is None) is (source is None)
