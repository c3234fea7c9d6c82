"""Every experiment, example and fleet that ships is valid, and says in its head how to run it."""

from pathlib import Path

import pytest

from swarm.config.read import read_experiment, read_fleet, read_points

FOLDER = Path(__file__).parents[2] / "experiments"
EXPERIMENTS = [*sorted(FOLDER.glob("*.yaml")), *sorted((FOLDER.parent / "examples").glob("*.yaml"))]
FLEETS = sorted((FOLDER / "fleets").glob("*.yaml"))


@pytest.mark.parametrize("path", EXPERIMENTS, ids=lambda path: path.stem)
def test_an_experiment_is_valid_and_tells_its_command(path: Path) -> None:
    experiment = read_experiment(path, [])
    assert experiment.description
    head = [line for line in path.read_text().splitlines() if line.startswith("#")]
    commands = [line for line in head if "swarm run" in line or "swarm simulate" in line]
    assert any(f"{path.parent.name}/{path.name}" in line for line in commands)


@pytest.mark.parametrize("path", EXPERIMENTS, ids=lambda path: path.stem)
def test_every_point_of_its_sweep_is_valid(path: Path) -> None:
    points = read_points(path, [])
    assert len(points) != 1
    assert bool(points) == ("\nsweep:" in path.read_text())


@pytest.mark.parametrize("path", FLEETS, ids=lambda path: path.stem)
def test_a_fleet_is_valid(path: Path) -> None:
    assert read_fleet(path, []).replicas
