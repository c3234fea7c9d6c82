"""Sweeps: the same bytes from one process or eight workers; points fail alone; none is run twice."""

from __future__ import annotations

from pathlib import Path

import orjson
import pytest
import ray
import yaml

from swarm.commands.sweep import run_sweep
from swarm.config.read import read_experiment, read_points
from swarm.errors import ConfigError, UsageError

EXPERIMENT = {
    "name": "small",
    "workload": {"kind": "synthetic", "warm_start": True, "idle_cap_s": 5},
    "load": {"agents": 2, "ramp_s": 1, "duration_s": 12},
    "sweep": {
        "grid": {"load.agents": [2, 4], "fleet.router": ["round_robin", "prefix_aware"]},
        "labels": {"fleet.router": ["in turn", "by prefix"]},
    },
}
HALF_A_PAIR = [{"role": "decode"}]


def _swept(folder: Path, data: dict, out: Path, jobs: int) -> int:
    path = folder / "experiment.yaml"
    path.write_text(yaml.safe_dump(data))
    experiment = read_experiment(path, [])
    assert experiment.sweep is not None
    return run_sweep(experiment, experiment.sweep, read_points(path, []), out=out, jobs=jobs)


def _files(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("alone")
    assert _swept(folder, EXPERIMENT, folder / "out", 1) == 0
    return folder / "out"


@pytest.mark.slow
def test_eight_workers_give_the_bytes_of_one_process(alone: Path, tmp_path: Path) -> None:
    ray.init(address="local", num_cpus=8, include_dashboard=False, log_to_driver=False)
    try:
        _swept(tmp_path, EXPERIMENT, tmp_path / "out", 8)
    finally:
        ray.shutdown()
    assert _files(tmp_path / "out") == _files(alone)


def test_the_report_and_its_pictures_are_there(alone: Path) -> None:
    names = {str(p.relative_to(alone)) for p in alone.rglob("*") if p.parent.name != "points"}
    assert {"report.html", "sweep.json", "charts/03-cache-hit_rate.png"} <= names


def test_a_point_of_the_sweep_is_the_run_of_its_own_experiment(alone: Path, tmp_path: Path) -> None:
    path = tmp_path / "experiment.yaml"
    path.write_text(yaml.safe_dump(EXPERIMENT))
    data = orjson.loads((alone / "sweep.json").read_bytes())
    ids = [point["summary"]["run_id"] for point in data["points"]]
    assert len(set(ids)) == len(read_points(path, [])) == 4


def test_a_failed_point_does_not_lose_the_others(tmp_path: Path) -> None:
    grid = {"fleet.replicas": [[{"role": "aggregated"}], HALF_A_PAIR]}
    code = _swept(tmp_path, {**EXPERIMENT, "sweep": {"grid": grid}}, tmp_path / "out", 1)
    points = orjson.loads((tmp_path / "out" / "sweep.json").read_bytes())["points"]
    assert (code, [point["summary"] is None for point in points]) == (1, [False, True])
    assert "failed" in (tmp_path / "out" / "report.html").read_text()


def test_points_that_are_there_are_not_run_again(tmp_path: Path) -> None:
    out = tmp_path / "out"
    _swept(tmp_path, EXPERIMENT, out, 1)
    before = {p: p.stat().st_mtime_ns for p in out.glob("points/*/summary.json")}
    lost = sorted(before)[0]
    lost.unlink()
    _swept(tmp_path, EXPERIMENT, out, 1)
    after = {p: p.stat().st_mtime_ns for p in out.glob("points/*/summary.json")}
    assert {p for p in after if after[p] != before[p]} == {lost}


def test_a_figure_that_no_point_observed_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sweep = {"grid": {"load.agents": [2]}, "y": ["fleet.tiers.dram.hit_blocks"]}
    assert _swept(tmp_path, {**EXPERIMENT, "sweep": sweep}, tmp_path / "out", 1) == 0
    note = "No point observed fleet.tiers.dram.hit_blocks; fleet.tiers holds hbm."
    assert note in capsys.readouterr().err
    assert note in (tmp_path / "out" / "report.html").read_text()


def test_a_folder_of_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("precious")
    with pytest.raises(UsageError, match="not of a sweep"):
        _swept(tmp_path, EXPERIMENT, tmp_path / "out", 1)


@pytest.mark.parametrize(
    ("sweep", "said"),
    [
        ({"grid": {"load.agents": []}}, "at least one value"),
        ({"grid": {"load.agents": [1]}, "x": "load.agent"}, "load.agent is not a key of the grid"),
        ({"grid": {"load.agents": [1]}, "labels": {"load.agents": ["a", "b"]}}, "2 names for 1 values"),
        ({"grid": {"load.agents": [1]}, "charts": [{"y": "duration_s", "series": "no"}]}, "charts.0.series"),
        ({"grid": {"load.agents": [1]}, "y": ["cache.hits"]}, "y.0: found 'cache.hits'.*cache has hit_rate"),
        ({"grid": {"load.agents": [1]}, "charts": [{"y": "hit_rate"}]}, "charts.0.y: found 'hit_rate'"),
        ({"grid": {"load.agents": [1]}, "y": ["money.cost_per_hour"]}, "y.0: needs prices"),
        (
            {"grid": {"load.agents": [1]}, "charts": [{"y": "duration_s", "zones": True}]},
            "charts.0.zones: needs prices",
        ),
        ({"grid": {"load.agents": [0]}}, "load.agents: found 0"),
        ({"grid": {"seed": [1, 2]}}, "seed: its values belong under sweep.seeds"),
        ({"grid": {"sweep.y": [["duration_s"]]}}, "sweep.y: a point of a sweep has no sweep of its own"),
        (
            {"grid": {"load.agents": [1, 2]}, "labels": {"load.agents": ["a", "a"]}},
            "labels.load.agents: each value needs a name of its own",
        ),
        (
            {
                "grid": {"load.agents": [1, 2], "load.ramp_s": [0, 1], "load.drain_s": [0, 1]},
                "charts": [{"y": "duration_s", "series": "load.ramp_s"}],
            },
            "charts.0.series: load.ramp_s leaves load.drain_s out",
        ),
        ({"grid": {"load.agents": [1, 2, 1]}}, "load.agents=1 and load.agents=1 make the same run"),
        ({"grid": {"load.agents": [2, 2.0]}}, "load.agents=2 and load.agents=2.0 make the same run"),
        ({"grid": {"load.agents": [1, 2]}, "seeds": [3, 3]}, "seed=3 and seed=3 make the same run"),
    ],
)
def test_a_wrong_sweep_is_refused_in_words(sweep: dict, said: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=said):
        _swept(tmp_path, {**EXPERIMENT, "sweep": sweep}, tmp_path / "out", 1)


def test_notes_of_the_points_are_told_once(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    workload = {"kind": "prompt_set", "prompts": 4, "prompt_tokens": 32_000}
    fleet = {"cost": {"kind": "roofline", "model": "Llama-3.3-70B"}, "replicas": [{"parallelism": {"tp": 8}}]}
    sweep = {"grid": {"workload.prompt_tokens": [16_000, 32_000]}}
    data = {"name": "n", "workload": workload, "fleet": fleet, "load": EXPERIMENT["load"], "sweep": sweep}
    _swept(tmp_path, data, tmp_path / "out", 1)
    said = "2 of 2 points: extrapolated: up to 16000…32000 tokens"
    assert capfd.readouterr().err.count(f"note: {said}") == 1
    assert (tmp_path / "out" / "report.html").read_text().count(said) == 1
