"""Sources: what one plays does not depend on what another played before it in the same process."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
from pathlib import Path

import pytest

from swarm.cluster.ship import pieces_of, receive
from swarm.config.experiment import Experiment
from swarm.config.workload import ReplayConfig
from swarm.context.tree import root
from swarm.records.run_folder import RunFolder
from swarm.sim.run import simulate
from swarm.workload.agent import SharedNodes
from swarm.workload.source import Material, load_scripts

A = [[1, 9], [1, 2, 3, 4]]
"""Hash ids of the requests of a trace; in B the same ids branch off elsewhere."""
B = [[1, 2, 3, 9], [1, 2, 3, 4]]


def trace(folder: Path, requests: list[list[int]]) -> Path:
    folder.mkdir()
    for number, ids in enumerate(requests):
        session = {
            "id": f"session-{number}",
            "block_size": 64,
            "hash_id_scope": "global",
            "requests": [{"t": 0.0, "type": "s", "in": 64 * len(ids), "out": 5, "hash_ids": ids}],
        }
        (folder / f"{number}.json").write_text(json.dumps(session))
    return folder


def experiment(path: Path) -> Experiment:
    return Experiment.model_validate(
        {
            "name": "global-ids",
            "workload": {"kind": "replay", "path": path, "order": "file", "shared_prefix": False},
            "load": {"agents": 2, "ramp_s": 60, "duration_s": None, "replace": False},
            "fleet": {"block_tokens": 64},
        }
    )


def played(config: Experiment) -> list[int]:
    rows = simulate(config, load_scripts(config.workload, config.seed, 2)).rows
    found: list[int] = rows.column("cached_tokens").to_pylist()
    return found


def alone(config: Experiment, folder: Path) -> list[int]:
    """Return what the experiment hits in a process of its own."""
    (folder / "e.yaml").write_text(config.model_dump_json())
    command = [
        sys.executable,
        "-m",
        "swarm",
        "simulate",
        str(folder / "e.yaml"),
        "--out",
        str(folder / "out"),
    ]
    subprocess.run(command, check=True, capture_output=True, cwd=folder)
    found: list[int] = RunFolder(folder / "out").requests(["cached_tokens"])["cached_tokens"].to_pylist()
    return found


def test_a_trace_with_global_ids_is_played_after_another_as_in_a_process_of_its_own(tmp_path: Path) -> None:
    first, second = (experiment(trace(tmp_path / name, ids)) for name, ids in (("a", A), ("b", B)))
    assert played(first) == [0, 64]
    assert played(second) == [0, 192] == alone(second, tmp_path)


def test_shared_nodes_are_one_object_of_a_name_in_a_source_and_another_in_the_next() -> None:
    one, other = SharedNodes(), SharedNodes()
    found = one.one(root("n").node)
    assert one.one(root("n").node) is found
    assert other.one(root("n").node) is not found
    assert pickle.loads(pickle.dumps(one)).one(root("n").node) is not found


@pytest.mark.parametrize("bytes_max", [1, 1 << 20])
def test_material_is_the_same_after_its_way_in_pieces(tmp_path: Path, bytes_max: int) -> None:
    path = trace(tmp_path / "a", [*A, []])
    config = ReplayConfig(path=path, on_broken="skip")
    material = load_scripts(config, 1, 2)
    assert len(material.scripts) == 2
    assert material.notes
    assert receive(pieces_of(material, bytes_max)) == material
    assert receive(pieces_of(Material(), bytes_max)) == Material()
