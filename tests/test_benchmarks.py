"""The benchmarks of the fleet still run; what they find is for a quiet machine to say."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[1] / "benchmarks"


def output_of(*command: str | Path) -> str:
    return subprocess.run(
        [sys.executable, FOLDER / command[0], *command[1:]], check=True, capture_output=True, text=True
    ).stdout


@pytest.mark.parametrize("name", ["simulate.py", "fleet.py"])
def test_a_benchmark_runs(name: str) -> None:
    assert "20 agents:" in output_of(name, "--agents", "20", "--requests", "100")


def test_without_any_peer_what_is_missing_is_said(tmp_path: Path) -> None:
    ended = subprocess.run(
        [sys.executable, FOLDER / "peers.py", "--mock", "mock"],
        env={**os.environ, "PATH": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert (ended.returncode, ended.stdout) == (2, "")
    assert "vllm, aiperf, guidellm are not installed" in ended.stderr
    assert "pip install" in ended.stderr and "Traceback" not in ended.stderr


def test_the_cache_benchmark_hits_what_the_truth_file_says(shared_data: Path) -> None:
    said = output_of("cache.py", shared_data / "agent-traces", "--capacity-tokens", "1000000")
    assert "7386 prompts" in said and "hit rate 0.9580" in said


@pytest.mark.quiet
@pytest.mark.timeout(1200)
def test_nothing_is_lost_of_a_run_that_loses_a_host_its_driver_or_its_disk() -> None:
    said = output_of("faults.py", "--kinds", "host,driver,disk", "--phases", "measuring", "--at-once", "3")
    assert "3 runs," in said and "0 lost, 0 counted twice" in said
