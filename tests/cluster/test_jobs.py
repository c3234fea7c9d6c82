"""`ray job submit`, end to end: a head with its dashboard and job server, a job, a run folder."""

from __future__ import annotations

import contextlib
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from swarm.measure.metric_names import exported

pytestmark = pytest.mark.timeout(400)
"""Processes start slowly where a machine is busy; nothing here waits for a fixed time."""

HEAD_S_MAX = 90.0
JOB_S_MAX = 120.0
PARTS = {"histogram": ("_bucket", "_count", "_sum"), "counter": ("",), "gauge": ("",)}
KEY = "sk-never-to-be-seen-0123456789"


@pytest.fixture(scope="module")
def head(settings: dict[str, str]) -> Iterator[tuple[str, Path]]:
    """A Ray head in a process of its own; the dashboard's address, and where Ray writes."""
    temporary = tempfile.mkdtemp(prefix="swarm-head-")
    port, dashboard, agent, client = free_ports(4)
    process = subprocess.Popen(
        [
            sys.executable, "-m", "ray.scripts.scripts", "start", "--head", "--block", "--num-cpus=2",
            f"--port={port}", f"--dashboard-port={dashboard}", f"--dashboard-agent-listen-port={agent}",
            f"--ray-client-server-port={client}", "--include-dashboard=true",
            "--object-store-memory=200000000", f"--temp-dir={temporary}",
        ],
        env={**settings, "SWARM_TEST_KEY": KEY},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        yield f"http://127.0.0.1:{dashboard}", Path(temporary)
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            process.kill()
        shutil.rmtree(temporary, ignore_errors=True)


def free_ports(count: int) -> list[int]:
    """Return ports that nobody listens on."""
    sockets = [socket.socket() for _ in range(count)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def client_of(address: str, settings: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return a client of the job server, once it answers."""
    from ray.job_submission import JobSubmissionClient

    monkeypatch.setenv("RAY_AUTH_MODE", settings["RAY_AUTH_MODE"])
    until_s = time.monotonic() + HEAD_S_MAX
    while True:
        try:
            client = JobSubmissionClient(address)
            client.list_jobs()
            return client
        except (ConnectionError, RuntimeError):
            assert time.monotonic() < until_s, "the job server does not answer"
            time.sleep(0.5)


@pytest.mark.slow
def test_a_job_runs_an_experiment_and_sends_its_folder(
    head, settings, write_experiment, tmp_path, monkeypatch
) -> None:
    address, written = head
    client = client_of(address, settings, monkeypatch)
    project = tmp_path / "project"
    project.mkdir()
    write_experiment(project, load__duration_s=4, hosts__count=2, target={"api_key_env": "SWARM_TEST_KEY"})
    there = tmp_path / "there"
    entry = (
        f"{sys.executable} -c 'from swarm.cli import main; main()' run experiment.yaml --out file://{there}"
    )
    job = client.submit_job(entrypoint=entry, runtime_env={"working_dir": str(project)})
    until_s = time.monotonic() + JOB_S_MAX
    while not (info := client.get_job_info(job)).status.is_terminal():
        assert time.monotonic() < until_s, client.get_job_logs(job)[-3000:]
        time.sleep(0.5)
    logs = client.get_job_logs(job)
    assert info.driver_exit_code == 0, logs[-3000:]
    assert logs.strip().splitlines()[-1] == f"file://{there}"
    summary = orjson.loads((there / "summary.json").read_bytes())
    assert summary["requests"]["finished"] > 0
    assert summary["valid"]
    for text in (logs, str(info), *texts(there), *texts(project), *texts(written)):
        assert KEY not in text


@pytest.mark.quiet
def test_a_job_exports_every_metric(head, settings, write_experiment, tmp_path, monkeypatch) -> None:
    address, written = head
    client = client_of(address, settings, monkeypatch)
    slo = [{"metric": "effective_ttft_s", "quantile": 0.95, "at_most": 60.0}]
    write_experiment(tmp_path, load__duration_s=60, hosts__count=2, slo=slo)
    entry = f"{sys.executable} -m swarm run {tmp_path}/experiment.yaml --out {tmp_path}/run"
    job = client.submit_job(
        entrypoint=entry, runtime_env={"env_vars": {"PYTHONPATH": settings["PYTHONPATH"]}}
    )
    expected = {name + part for name, kind in exported().items() for part in PARTS[kind]}
    # Nothing fails in that run, and no report comes twice: a counter is there from its first count on.
    expected -= {f"ray_swarm_{name}_total" for name in ("failed", "failures", "batches_doubled")}
    seen: set[str] = set()
    while expected - seen and not client.get_job_info(job).status.is_terminal():
        seen |= names_exported(written / "prom_metrics_service_discovery.json")
        time.sleep(1)
    client.stop_job(job)
    assert expected - seen == set(), client.get_job_logs(job)[-3000:]


def names_exported(discovery: Path) -> set[str]:
    """Return the names of a run's samples at the addresses where Prometheus is told to look."""
    found: set[str] = set()
    if not discovery.is_file():
        return found
    for group in orjson.loads(discovery.read_bytes()):
        for target in group["targets"]:
            with contextlib.suppress(OSError):
                text = urllib.request.urlopen(f"http://{target}/metrics", timeout=10).read().decode()
                found |= set(re.findall(r"^(ray_swarm_\w+)\{[^\n]*run=", text, re.M))
    return found


def texts(folder: Path) -> Iterator[str]:
    """Yield what the files below a folder hold."""
    for path in folder.rglob("*"):
        if path.is_file() and not path.is_symlink():
            yield path.read_bytes().decode("latin-1")
