"""One Ray cluster of several nodes on this machine, and runs that are driven on it from outside."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
SETTINGS = {
    "RAY_AUTH_MODE": "disabled",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_USAGE_STATS_REPORT_URL": "http://127.0.0.1:9",
    # A node's death is seen within two seconds.
    "RAY_health_check_initial_delay_ms": "1000",
    "RAY_health_check_period_ms": "500",
    "RAY_health_check_timeout_ms": "1000",
    "RAY_health_check_failure_threshold": "4",
}
WAIT_S_MAX = 180.0
FLEET = {
    "cost": {
        "kind": "simple",
        "prefill_tokens_per_s": 5e6,
        "decode_base_s": 0.002,
        "kv_capacity_tokens": 50_000_000,
    }
}
EXPERIMENT: dict[str, Any] = {
    "name": "cluster-test",
    "workload": {
        "kind": "synthetic",
        "tool_tokens": 300,
        "system_tokens": 100,
        "first_context": {"median": 200, "sigma": 0.3},
        "turns": {"median": 400, "sigma": 0.1},
        "tool_think_s": {"median": 0.5, "sigma": 0.4},
        "human_wait": {"body": {"median": 0.6, "sigma": 0.3}, "tail_share": 0.0},
        "tool_result": {"median": 40, "sigma": 0.4},
        "output": {"median": 60, "sigma": 0.4, "least": 4, "most": 100},
        "high_watermark": 4000,
        "subagents": {"chance_per_turn": 0.1, "turns": {"median": 4, "sigma": 0.3, "least": 2, "most": 8}},
    },
    "load": {"agents": 24, "ramp_s": 0.5, "duration_s": 15, "drain_s": 2},
    "hosts": {"count": 3, "report_every_s": 0.5},
    "fleet": FLEET,
    # The machine is shared: lags are not what these tests are about.
    "audit": {
        "loop_lag_p99_s": 60,
        "event_lateness_p99_s": 60,
        "send_lag_p99_s": 60,
        "cpu_wait_share": 1,
        "delivered_share": 0,
        "unaccounted_share": 1,
    },
}


def experiment_file(folder: Path, **changes: Any) -> Path:
    """Write the experiment; keys with two underscores go into its parts."""
    data = json.loads(json.dumps(EXPERIMENT))
    for key, value in changes.items():
        part, _, name = key.partition("__")
        if name:
            data[part][name] = value
        else:
            data[part] = value
    path = folder / "experiment.yaml"
    path.write_text(yaml.safe_dump(data))
    return path


def children_of(pid: int, name: str) -> list[int]:
    """Return the processes below `pid` whose command line holds `name`."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            line = (entry / "cmdline").read_bytes().decode(errors="replace")
        except (OSError, ValueError, IndexError):
            continue
        if parent == pid and name in line:
            found.append(int(entry.name))
    return sorted(found)


class Nodes:
    """The cluster's nodes, and what runs on them."""

    def __init__(self, cluster: Any) -> None:
        self._cluster = cluster
        self.address: str = cluster.address

    def add(self) -> Any:
        return self._cluster.add_node(num_cpus=2)

    def workers(self) -> list[Any]:
        """Return the nodes that live, but the head."""
        return [
            node
            for node in self._cluster.list_all_nodes()
            if node is not self._cluster.head_node and node.remaining_processes_alive()
        ]

    def kill(self, node: Any) -> None:
        """End a node's raylet without notice, as a machine ends, with all that it runs."""
        raylet = self.raylet(node)
        workers = children_of(raylet, "")
        os.kill(raylet, signal.SIGKILL)
        for worker in workers:
            try:
                os.kill(worker, signal.SIGKILL)
            except ProcessLookupError:
                continue

    def raylet(self, node: Any) -> int:
        (info,) = node.all_processes["raylet"]
        pid: int = info.process.pid
        return pid

    def processes(self, name: str, node: Any | None = None) -> list[int]:
        """Return the pids of actors by their class."""
        nodes = self._cluster.list_all_nodes() if node is None else [node]
        return [
            pid
            for each in nodes
            if each.all_processes
            for pid in children_of(self.raylet(each), f"ray::{name}")
        ]


@pytest.fixture(scope="session")
def settings() -> dict[str, str]:
    """The environment of every process that has to do with a Ray of these tests."""
    return {**os.environ, **SETTINGS, "PYTHONPATH": str(ROOT)}


@pytest.fixture
def write_experiment() -> Callable[..., Path]:
    """Write the tests' experiment into a folder, with changes."""
    return experiment_file


@pytest.fixture(scope="session")
def nodes() -> Iterator[Nodes]:
    """A head and two more nodes."""
    from ray.cluster_utils import Cluster

    before = dict(os.environ)
    temporary = tempfile.mkdtemp(prefix="swarm-ray-")
    # The head writes its address there and does not make the folder; Ray's own may be another cluster's.
    os.mkdir(os.path.join(temporary, "ray"))
    os.environ.update(SETTINGS, RAY_TMPDIR=temporary)
    cluster = Cluster(
        initialize_head=True,
        head_node_args={"num_cpus": 2, "include_dashboard": False, "temp_dir": temporary},
    )
    for _ in range(2):
        cluster.add_node(num_cpus=2)
    try:
        yield Nodes(cluster)
    finally:
        cluster.shutdown()
        os.environ.clear()
        os.environ.update(before)
        shutil.rmtree(temporary, ignore_errors=True)


class Run:
    """`swarm run` as a process of its own; without an address it starts its own Ray."""

    def __init__(
        self, arguments: list[str], out: Path, address: str, *, cwd: Path, start_new_session: bool
    ) -> None:
        self.out = out
        environment = {**os.environ, **SETTINGS, "RAY_ADDRESS": address, "PYTHONPATH": str(ROOT)}
        self.process = subprocess.Popen(
            [sys.executable, "-c", "from swarm.cli import main; main()", "run", *arguments],
            env=environment,
            cwd=cwd,
            start_new_session=start_new_session,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def wait_until(self, holds: Callable[[], bool]) -> None:
        """Return when something holds; fail if the run ends before."""
        until_s = time.monotonic() + WAIT_S_MAX
        while not holds():
            if self.process.poll() is not None:
                raise AssertionError(f"the run has ended: {self.process.communicate()[0][-3000:]}")
            assert time.monotonic() < until_s, "nothing came of it in time"
            time.sleep(0.1)

    def wait_for_batches(self, host: int, count: int, epoch: int = 0) -> None:
        """Return when a host has journaled so many batches."""
        from swarm.records.journal import read_journal

        path = self.out / "journal" / f"host-{host:05d}-{epoch}.journal"
        self.wait_until(lambda: path.exists() and sum(1 for _ in read_journal(path)) >= count)

    def batches(self) -> list[Any]:
        """Return what its journals hold by now."""
        from swarm.records.journal import read_batches

        return read_batches(sorted((self.out / "journal").glob("*.journal")))

    def has_ray(self, name: str = "raylet") -> bool:
        """Return whether a process of the Ray that it started lives."""
        pids = children_of(self.process.pid, "")
        below = [child for pid in pids for child in children_of(pid, name)]
        return bool(below or children_of(self.process.pid, name))

    def end(self) -> tuple[int, str]:
        """Wait for the end; return the exit code and what was printed."""
        text, _ = self.process.communicate(timeout=WAIT_S_MAX)
        return self.process.returncode, text


def end_all(runs: list[Run]) -> None:
    """Kill the runs that have not ended."""
    for run in runs:
        if run.process.poll() is None:
            run.process.kill()
            run.process.communicate()


@pytest.fixture
def swarm_run(nodes: Nodes, tmp_path: Path) -> Iterator[Callable[..., Run]]:
    """Start runs; whatever is left of them is ended with the test."""
    started: list[Run] = []

    def start(*arguments: str, **changes: Any) -> Run:
        out = tmp_path / "run"
        if not arguments:
            arguments = (str(experiment_file(tmp_path, **changes)), "--out", str(out))
        started.append(Run(list(arguments), out, nodes.address, cwd=tmp_path, start_new_session=False))
        return started[-1]

    yield start
    end_all(started)


@pytest.fixture
def local_run(tmp_path: Path) -> Iterator[Callable[..., Run]]:
    """Start runs that start a Ray of their own, each in a process group of its own."""
    started: list[Run] = []

    def start(out: Path, **changes: Any) -> Run:
        arguments = [str(experiment_file(tmp_path, **changes)), "--out", str(out)]
        started.append(Run(arguments, out, "", cwd=tmp_path, start_new_session=True))
        return started[-1]

    yield start
    end_all(started)
