"""`import swarm`: the commands as functions, and runs as tables."""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import swarm
from swarm.config.read import validate
from swarm.errors import ConfigError, RunError, UsageError

EXAMPLE = Path(__file__).resolve().parents[1] / "examples" / "react.yaml"
FLEET = {"cost": {"kind": "simple", "kv_capacity_tokens": 1_000_000}}
SMALL: dict[str, Any] = {
    "name": "small",
    "workload": {"kind": "synthetic", "turns": {"median": 4, "sigma": 0.3}, "idle_cap_s": 20},
    "load": {"agents": 5, "duration_s": 120, "drain_s": 5},
    "fleet": FLEET,
}


def test_importing_swarm_brings_nothing_else() -> None:
    code = "import sys, swarm; print(sorted(m for m in sys.modules if m.split('.')[0] in {BROUGHT}))"
    brought = "('swarm', 'ray', 'pandas', 'numpy', 'pydantic', 'altair')"
    done = subprocess.run(
        [sys.executable, "-c", code.replace("{BROUGHT}", brought)], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "['swarm']"


def test_simulating_brings_neither_ray_nor_charts() -> None:
    code = (
        "import sys, swarm; swarm.simulate; assert 'ray' not in sys.modules and 'altair' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("name", swarm.__all__)
def test_every_name_of_the_door_is_there_and_says_what_it_is(name: str) -> None:
    assert getattr(swarm, name).__doc__
    assert name in dir(swarm)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'simulat'"):
        swarm.simulat  # noqa: B018


def test_python_m_swarm_is_the_command_line() -> None:
    done = subprocess.run([sys.executable, "-m", "swarm", "--version"], capture_output=True, text=True)
    assert (done.returncode, done.stdout.split()[0]) == (0, "swarm")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return swarm.simulate(SMALL, tmp_path_factory.mktemp("runs") / "run")


def test_a_mapping_a_file_and_an_experiment_give_the_same_run(run: Any, tmp_path: Path) -> None:
    (tmp_path / "small.yaml").write_text(json.dumps(SMALL))
    by_file = swarm.simulate(str(tmp_path / "small.yaml"), tmp_path / "a")
    by_model = swarm.simulate(swarm.read_experiment(SMALL), str(tmp_path / "b"))
    assert by_file.summary == by_model.summary == run.summary
    pd.testing.assert_frame_equal(by_file.requests, run.requests)
    assert swarm.simulate(SMALL, tmp_path / "c", seed=2).summary["run_id"] != run.summary["run_id"]
    assert swarm.read_experiment(run.experiment, ["load.agents=7"]).load.agents == 7
    assert run.experiment == swarm.read_experiment(SMALL)


def test_the_agents_of_a_run_add_up_to_its_requests(run: Any) -> None:
    agents, requests, summary = run.agents, run.requests, run.summary
    assert list(agents.index) == sorted(set(requests["agent"]))
    assert agents.index.name == "path"
    assert agents["turns"].sum() == len(requests) == summary["requests"]["sent"]
    for name in ("finished", "failed", "interrupted"):
        assert agents[name].sum() == summary["requests"][name]
    for name in ("prompt_tokens", "output_tokens", "cached_tokens"):
        assert agents[name].sum() == requests[name].sum()
    assert (agents["end_s"] >= agents["start_s"]).all()
    of_subagents = agents[agents["is_subagent"]]
    assert (of_subagents["parent"] == of_subagents.index.str.rpartition("/").get_level_values(0)).all()
    assert agents.loc[~agents["is_subagent"], "parent"].isna().all()


def test_the_tables_have_the_columns_of_the_folder_and_the_latencies(run: Any) -> None:
    ok = run.requests[run.requests["outcome"] == "ok"]
    assert (ok["effective_ttft_s"] >= ok["ttft_s"]).all()
    assert {"start_s", "end_s", "finished"} <= set(run.windows.columns)
    whole = run.windows[run.windows["host"].isna() & run.windows["endpoint"].isna()]
    assert whole["finished"].sum() == run.summary["requests"]["finished"]


def test_a_run_is_loaded_from_a_folder_and_a_url(run: Any) -> None:
    for place in (run.path, str(run.path), f"file://{run.path}"):
        loaded = swarm.load_run(place)
        assert loaded.summary == run.summary
        pd.testing.assert_frame_equal(loaded.agents, run.agents)


def test_what_cannot_be_used_is_a_sentence(run: Any, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"load\.agent: unknown key"):
        swarm.read_experiment({**SMALL, "load": {"agent": 5}})
    with pytest.raises(ConfigError, match="the experiment"):
        swarm.simulate({}, tmp_path / "a")
    with pytest.raises(UsageError, match="not a run folder"):
        swarm.load_run(tmp_path)
    with pytest.raises(UsageError, match="holds files already"):
        swarm.simulate(SMALL, run.path)
    with pytest.raises(UsageError, match="a sweep"):
        swarm.simulate(
            {**SMALL, "sweep": {"grid": {"load.agents": [1, 2]}, "x": "load.agents", "y": ["cache.hit_rate"]}}
        )
    assert list(tmp_path.iterdir()) == []


def test_a_fleet_is_served_while_the_block_runs() -> None:
    with swarm.serve(FLEET) as url:
        with urllib.request.urlopen(f"{url}/v1/models") as answer:
            assert json.loads(answer.read())["object"] == "list"
        with (
            pytest.raises(RunError, match="cannot listen"),
            swarm.serve(FLEET, port=int(url.rpartition(":")[2])),
        ):
            pass
    with pytest.raises(urllib.error.URLError):
        urllib.request.urlopen(f"{url}/v1/models")


def test_a_served_fleet_may_ask_for_a_key() -> None:
    with swarm.serve(FLEET, key="secret") as url:
        with pytest.raises(urllib.error.HTTPError, match="401"):
            urllib.request.urlopen(f"{url}/v1/models")
        asked = urllib.request.Request(f"{url}/v1/models", headers={"Authorization": "Bearer secret"})
        assert urllib.request.urlopen(asked).status == 200


def test_an_analysis_is_what_the_command_writes(tmp_path: Path) -> None:
    rows = [{"t": t, "type": "s", "in": 128, "out": 5, "hash_ids": [1, 2]} for t in (0.0, 100.0)]
    trace = tmp_path / "a.json"
    trace.write_text(json.dumps({"id": "a", "block_size": 64, "requests": rows}))
    found = swarm.analyze(tmp_path, ttls=[60, float("inf")], capacities=[64, None])
    command = ["analyze", str(trace), "--ttl", "60,inf", "--capacity", "64,inf", "--json", "-"]
    done = subprocess.run([sys.executable, "-m", "swarm", *command], capture_output=True, check=True)
    assert found == json.loads(done.stdout)
    assert [each["hit_rate"] for each in found["ttl"]] == [0.0, 0.5]
    with pytest.raises(UsageError, match="ttls: -1"):
        swarm.analyze(trace, ttls=[-1])


def test_the_example_runs_and_its_subagents_share_what_they_begin_with(tmp_path: Path) -> None:
    run = swarm.simulate(EXAMPLE, tmp_path / "run", changes=["load.agents=4", "load.ramp_s=1"])
    assert run.summary["valid"]
    assert run.agents["is_subagent"].sum() > 0
    first = run.requests[(run.requests["turn"] == 0) & run.requests["parent"].notna()]
    assert (first["cached_tokens"] > 0).sum() == len(first) - 1
    assert validate(swarm.Experiment, run.experiment.model_dump(), "again") == run.experiment


def test_a_notebook_draws_a_run_and_its_charts(tmp_path: Path) -> None:
    run = swarm.simulate(SMALL, tmp_path / "run")
    assert {"effective_ttft", "hit_rate", "losses"} <= set(run.charts)
    assert "vega" in str(run.charts["hit_rate"]._repr_mimebundle_())
    assert run.charts["hit_rate"].to_dict(validate=False)["title"]["text"] == "Hit rate"
    assert "<li class=good>" in run._repr_html_()
