"""Whole experiments in virtual time, drawn from seeds and audited at their end."""

import gc

import pyarrow as pa
import pytest

from swarm.config.experiment import Experiment
from swarm.measure.reconcile import with_ideal
from swarm.measure.results import Results
from swarm.records.batch import Place
from swarm.records.columns import LOST
from swarm.sim.run import simulate


def experiment(seed: int = 1, kv_capacity_tokens: int = 4_000_000, **load: object) -> Experiment:
    return Experiment.model_validate(
        {
            "name": "t",
            "seed": seed,
            "workload": {
                "kind": "synthetic",
                "warm_start": True,
                "idle_cap_s": 30,
                "subagents": {"chance_per_turn": 0.2},
            },
            "load": {"agents": 12, "duration_s": 300, "warmup_s": 30, **load},
            "fleet": {
                "cost": {
                    "kind": "simple",
                    "prefill_tokens_per_s": 500_000,
                    "kv_capacity_tokens": kv_capacity_tokens,
                }
            },
        }
    )


def digest(settled: Results) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, settled.rows.schema) as writer:
        writer.write_table(settled.rows)
    return bytes(sink.getvalue())


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others() -> None:
    assert digest(simulate(experiment(), ())) == digest(simulate(experiment(), ()))
    assert digest(simulate(experiment(), ())) != digest(simulate(experiment(seed=2), ()))


@pytest.mark.parametrize("seed", range(1, 6))
def test_every_request_sent_has_one_row(seed: int) -> None:
    settled = simulate(experiment(seed), ())
    names = list(
        zip(
            settled.rows.column("agent").to_pylist(),
            settled.rows.column("turn").to_pylist(),
            strict=True,
        )
    )
    assert len(set(names)) == len(names) == settled.totals.sent, f"SEED={seed}"


@pytest.mark.parametrize("seed", range(1, 6))
def test_no_turn_is_intended_before_the_one_before_it_ended(seed: int) -> None:
    rows = simulate(experiment(seed), ()).rows.to_pylist()
    last_completed: dict[str, float] = {}
    for row in sorted(rows, key=lambda r: (r["agent"], r["turn"])):
        assert row["intended_s"] >= last_completed.get(row["agent"], 0.0), f"SEED={seed}"
        last_completed[row["agent"]] = row["completed_s"]
    assert len(last_completed) < len(rows), f"SEED={seed}"


@pytest.mark.parametrize("seed", range(1, 6))
def test_lost_hits_add_up_to_ideal_minus_cached(seed: int) -> None:
    # A tenth of what the agents would hold, so that much is lost.
    settled = simulate(experiment(seed, kv_capacity_tokens=400_000), ())
    rows = [row for row in settled.rows.to_pylist() if row["outcome"] == "ok"]
    lost = [sum(value for name, value in row.items() if name.startswith("lost_tokens_")) for row in rows]
    assert any(lost), f"SEED={seed}"
    assert lost == [row["ideal_tokens"] - row["cached_tokens"] for row in rows], f"SEED={seed}"


def test_a_finished_session_is_replaced_and_no_slot_idles() -> None:
    totals = simulate(experiment(duration_s=4000, drain_s=0), ()).totals
    assert totals.sessions_finished > 12
    assert totals.sessions_started == totals.sessions_finished + 12


def test_the_runs_ideal_counts_what_other_hosts_sent_before() -> None:
    rows = pa.table(
        {
            "sent_s": [0.0, 1.0],
            "completed_s": [0.5, 1.5],
            "planned_prompt_tokens": [64, 64],
            "prompt_tokens": [64, 64],
            "prompt_node": ["a", "b"],
            "echo": [True, False],
            "outcome": ["ok", "ok"],
            "output_tokens": [33, 1],
            "ideal_tokens": [0, 0],
            "cached_tokens": [0, 0],
            **{name: [0, 0] for name in LOST},
        }
    )
    places = [Place("a", None, 0), Place("b", "a", 48)]
    assert with_ideal(rows, places, block_tokens=16).column("ideal_tokens").to_pylist() == [0, 48]


def test_an_echoed_reply_is_known_from_its_completion_less_its_last_token() -> None:
    def ideal(sent_s: float) -> int:
        rows = pa.table(
            {
                "sent_s": [0.0, sent_s],
                "completed_s": [0.5, 1.5],
                "planned_prompt_tokens": [64, 128],
                "prompt_tokens": [64, 128],
                "prompt_node": ["a", "a"],
                "echo": [True, False],
                "outcome": ["ok", "ok"],
                "output_tokens": [33, 1],
                "ideal_tokens": [0, 0],
                "cached_tokens": [0, 0],
                **{name: [0, 0] for name in LOST},
            }
        )
        return with_ideal(rows, [Place("a", None, 0)], block_tokens=16)["ideal_tokens"][1].as_py()

    assert ideal(sent_s=0.4) == 64
    assert ideal(sent_s=0.6) == 96


class StopsAt:
    """Ends a simulation after so many requests."""

    def __init__(self, requests: int) -> None:
        self.requests = requests

    def goes_on(self, now_s: float, ended_count: int, open_count: int) -> bool:
        return ended_count < self.requests


def test_a_run_that_is_ended_early_has_a_row_for_every_request_sent() -> None:
    settled = simulate(experiment(), (), StopsAt(256))
    outcomes = settled.rows.column("outcome").to_pylist()
    assert outcomes.count("ok") == 256
    assert outcomes.count("interrupted") == len(outcomes) - 256
    assert len(outcomes) == settled.totals.sent
    assert settled.totals.measured_to_s < 300


def limited(agents: int, **load: object) -> list[dict[str, object]]:
    """Return the rows of agents whose plan refuses most of what they ask; each waits what it is told to."""
    fleet = {"provider": {"input_tokens_per_minute": 200_000, "per": "all"}}
    whole = experiment(agents=agents, warmup_s=0, **load).model_dump() | {"fleet": fleet}
    rows: list[dict[str, object]] = simulate(Experiment.model_validate(whole), ()).rows.to_pylist()
    return rows


@pytest.mark.parametrize("drain_s", [0.0, 20.0])
def test_a_wait_that_the_runs_end_cuts_off_ends_there(drain_s: float) -> None:
    rows = limited(12, duration_s=60, drain_s=drain_s)
    cut = [row for row in rows if row["outcome"] == "interrupted" and row["sent_s"] is None]
    assert cut
    for row in cut:
        assert row["due_s"] == row["completed_s"] == 60 + drain_s
        assert row["attempts"] >= 1
        assert row["retry_wait_s"] <= row["completed_s"] - row["intended_s"] + 1e-9
    assert all(row["due_s"] <= row["completed_s"] for row in rows)


def test_what_is_refused_is_tried_again_in_the_drain() -> None:
    rows = limited(12, duration_s=60, drain_s=60)
    assert any(row["sent_s"] is not None and row["sent_s"] > 60 for row in rows)
    assert max(row["intended_s"] for row in rows) <= 60


def test_a_turn_whose_think_time_outlasts_the_run_has_no_row() -> None:
    hours = {"median": 1e5, "sigma": 0.0, "most": 1e5}
    wait = {"body": hours, "tail_share": 0.0}
    alone = {"chance_per_turn": 0.0}
    workload = {"kind": "synthetic", "tool_think_s": hours, "human_wait": wait, "subagents": alone}
    whole = experiment(duration_s=60, warmup_s=0).model_dump() | {"workload": workload}
    settled = simulate(Experiment.model_validate(whole), ())
    assert settled.rows.column("turn").to_pylist() == [0] * 12
    assert settled.totals.sent == 12


def test_nothing_of_a_run_waits_for_the_garbage_collector() -> None:
    tiers = [{"name": "hbm"}, {"name": "dram", "capacity_gib": 8, "read_gib_per_s": 1, "write_gib_per_s": 1}]
    whole = experiment(kv_capacity_tokens=400_000, duration_s=60, warmup_s=0).model_dump()
    whole["fleet"] |= {"tiers": tiers, "replicas": [{"count": 2}]}
    gc.collect()
    gc.disable()
    gc.set_debug(gc.DEBUG_SAVEALL)
    try:
        assert simulate(Experiment.model_validate(whole), ()).totals.sent
        gc.collect()
        left = {type(each) for each in gc.garbage if type(each).__module__.startswith("swarm.")}
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()
    assert not left
