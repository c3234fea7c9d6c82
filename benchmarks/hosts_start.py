"""What the start of hosts costs: benchmarks/hosts_start.py [--hosts 1 10 50]

Starts as many hosts as a run does, through the same launcher and all at once, on a Ray of its own. Wall time
is until the last of them is ready; CPU is user and system time of each host's process at that moment, from
its very start, beside that of an actor which does nothing. PSS is memory with shared pages split among those
who share them.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import ray

from swarm.cluster.launcher import RayLauncher
from swarm.cluster.session import ray_session
from swarm.config.experiment import Experiment
from swarm.live.clock import SystemClock
from swarm.live.coordinator import CoordinatorPlan
from swarm.live.driver.plans import HostPlans
from swarm.live.driver.processes import HostProcesses
from swarm.load.pacing import pacing_of
from swarm.workload.source import Material

TICKS = os.sysconf("SC_CLK_TCK")
EXPERIMENT = Experiment.model_validate(
    {
        "name": "start",
        "workload": {"kind": "synthetic"},
        "load": {"agents": 10_000},
        "target": {"urls": ["http://127.0.0.1:9"], "model": "m", "bytes_per_token": 4, "overhead_tokens": 0},
    }
)


@dataclass(frozen=True)
class Used:
    """A process's CPU and memory."""

    name: str
    cpu_s: float
    pss_bytes: int


def processes() -> dict[int, Used]:
    """Return the processes of this one's descent, by pid."""
    parents: dict[int, int] = {}
    found: dict[int, Used] = {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            fields = (entry / "stat").read_text().rpartition(")")[2].split()
            name = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
            rollup = (entry / "smaps_rollup").read_text().splitlines()
        except OSError:
            continue
        pss = next((int(line.split()[1]) * 1024 for line in rollup if line.startswith("Pss:")), 0)
        parents[int(entry.name)] = int(fields[1])
        found[int(entry.name)] = Used(name, (int(fields[11]) + int(fields[12])) / TICKS, pss)
    return {pid: used for pid, used in found.items() if _descends(pid, parents)}


def _descends(pid: int, parents: dict[int, int]) -> bool:
    while pid > 1:
        if pid == os.getpid():
            return True
        pid = parents.get(pid, 0)
    return False


def start(count: int) -> str:
    """Start so many hosts; return what that took."""
    with tempfile.TemporaryDirectory() as folder, ray_session(name=f"start-{count}"):
        launcher = RayLauncher(f"start-{count}")
        contact = launcher.start_coordinator(CoordinatorPlan.of(EXPERIMENT, folder, epoch=0))
        launcher.wait([contact.snapshot()], 60.0)
        launcher.ship(Material())
        pacing = pacing_of(EXPERIMENT.load, None, EXPERIMENT.seed, ())
        plans = HostPlans(EXPERIMENT, pacing, hosts_count=count, journals=Path(folder), run_id="start")
        hosts = HostProcesses(EXPERIMENT.hosts, launcher)
        began_s = time.monotonic()
        for host in range(count):
            hosts.start(plans.first(host, 0))
        hosts.wait_until_ready(SystemClock(), lambda: None, lambda text: None)
        wall_s = time.monotonic() - began_s
        own = [used for used in processes().values() if used.name.startswith("ray::RemoteHost")]
        launcher.close()
    cpu_s, pss_bytes = (
        statistics.mean(getattr(used, name) for used in own) for name in ("cpu_s", "pss_bytes")
    )
    return (
        f"{count:4} hosts: ready after {wall_s:5.1f} s, {wall_s / count:.2f} s each   "
        f"CPU of a host {cpu_s:.2f} s   PSS {pss_bytes / 2**20:.0f} MiB"
    )


def bare() -> str:
    """Start one actor that does nothing; return its CPU: what of a host's is Ray's own."""
    with ray_session(name="bare"):
        actor = ray.remote(num_cpus=0)(Nothing).remote()
        ray.get(actor.answer.remote())
        (own,) = [used for used in processes().values() if used.name.startswith("ray::Nothing")]
    return f"an empty actor: CPU {own.cpu_s:.2f} s   PSS {own.pss_bytes / 2**20:.0f} MiB"


class Nothing:
    """An actor without work."""

    def answer(self) -> None:
        """Be there."""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--hosts", type=int, nargs="+", default=[1, 10, 50])
    arguments = parser.parse_args()
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}", flush=True)
    print(bare(), flush=True)
    for count in arguments.hosts:
        print(start(count), flush=True)


if __name__ == "__main__":
    main()
