"""`swarm simulate` as a user calls it: the folder that it leaves, and what a signal does."""

import signal
from pathlib import Path

import pytest

from swarm.commands.simulate import run_simulated, simulate_into
from swarm.config.cache_model import CacheModelConfig
from swarm.config.experiment import Experiment
from swarm.records.run_folder import RunFolder
from swarm.report.live.simulation import Watching


def experiment(**load: object) -> Experiment:
    return Experiment.model_validate(
        {
            "name": "t",
            "seed": 3,
            "workload": {"kind": "synthetic", "warm_start": True, "idle_cap_s": 20},
            "load": {"agents": 20, "ramp_s": 0, "duration_s": 200, **load},
            "fleet": {"cost": {"kind": "simple", "prefill_tokens_per_s": 500_000}},
            "charts": [],
        }
    )


def test_the_same_experiment_leaves_the_same_bytes_and_says_what_ran(tmp_path: Path) -> None:
    assert run_simulated(experiment(), tmp_path / "a") == 0
    simulate_into(experiment(), RunFolder.create(tmp_path / "b"), {})
    for file in ("summary.json", "requests.parquet", "windows.parquet"):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes(), file
    run = RunFolder.open(tmp_path / "a").run()
    assert (run["mode"], run["seed"], run["experiment"]["name"]) == ("simulate", 3, "t")
    assert {"swarm", "python", "numpy", "pyarrow"} <= run["versions"].keys()
    assert run["run_id"] == RunFolder.open(tmp_path / "a").summary()["run_id"]


def test_a_signal_leaves_what_was_simulated_until_then(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    goes_on = Watching.goes_on

    def interrupted(self: Watching, now_s: float, ended_count: int, open_count: int) -> bool:
        signal.raise_signal(signal.SIGINT)
        return goes_on(self, now_s, ended_count, open_count)

    monkeypatch.setattr(Watching, "goes_on", interrupted)
    assert run_simulated(experiment(duration_s=1e9), tmp_path / "run") == 130
    summary = RunFolder.open(tmp_path / "run").summary()
    assert summary["requests"]["finished"] == 256
    assert summary["requests"]["sent"] == 256 + summary["requests"]["interrupted"]
    note = f"stopped by SIGINT at {summary['duration_s']:.1f} of 1000000000 s"
    assert summary["notes"][0] == note
    assert note in (tmp_path / "run" / "report.html").read_text()
    assert f"note: {note}" in capsys.readouterr().err


def test_a_cache_model_without_effect_is_told(tmp_path: Path) -> None:
    modelled = experiment(duration_s=20).model_copy(update={"cache_model": CacheModelConfig()})
    summary = simulate_into(modelled, RunFolder.create(tmp_path / "a"), {})
    assert [note for note in summary["notes"] if note.startswith("cache_model is not used")]


def test_a_simulation_that_nobody_stopped_has_no_note_of_it(tmp_path: Path) -> None:
    summary = simulate_into(experiment(), RunFolder.create(tmp_path / "run"), {})
    assert not [note for note in summary["notes"] if "stopped" in note]
