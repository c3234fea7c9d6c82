"""Runs on several nodes that are really apart: benchmarks/nodes.py [CASE]... [--nodes 3] [--agents 60]

Every node is a network namespace with its own address, raylet, /tmp and cable (`node_net.py`). A run is a job
submitted to the head from one more machine; agents ask the counting server (`counting.py`) on another. It
shares no code with the client, so that its counts say whether requests were lost or sent twice.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow.parquet
import yaml
from node_net import Net, Node, missing, standing_in

ROOT = Path(__file__).resolve().parents[1]
BIN = Path(sys.executable).parent
RAY_PORT, DASHBOARD_PORT, SERVER_PORT = 6379, 8265, 8100
READY_S_MAX = 240.0
SETTLED_S = 5.0
"""A start that has not failed by then, after its raylet was there, has succeeded."""
STARTS_MAX = 5
"""Of one raylet: Ray gives up a start that takes 30 s, as it may on a busy machine."""
JOB_S_MAX = 500.0
SETTINGS = {
    "RAY_AUTH_MODE": "disabled",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_USAGE_STATS_REPORT_URL": "http://127.0.0.1:9",
    # A node's death is seen after some seconds, instead of half a minute.
    "RAY_health_check_initial_delay_ms": "1000",
    "RAY_health_check_period_ms": "1000",
    "RAY_health_check_timeout_ms": "2000",
    "RAY_health_check_failure_threshold": "5",
    # On a busy machine a node's agents take longer to start than the 15 s that its raylet gives them.
    "RAY_agent_register_timeout_ms": "120000",
}
EXPERIMENT: dict[str, Any] = {
    "name": "nodes",
    "workload": {
        "kind": "synthetic",
        "replies": "planned",
        "tool_tokens": 300,
        "system_tokens": 100,
        "first_context": {"median": 200, "sigma": 0.3},
        "turns": {"median": 400, "sigma": 0.1},
        "tool_think_s": {"median": 2.0, "sigma": 0.3, "least": 0.5, "most": 8},
        "human_wait": {"body": {"median": 2.0, "sigma": 0.3}, "tail_share": 0.0},
        "tool_result": {"median": 40, "sigma": 0.4},
        "output": {"median": 20, "sigma": 0.4, "least": 4, "most": 60},
        "high_watermark": 4000,
        "subagents": {"chance_per_turn": 0.0},
    },
    "load": {"ramp_s": 3, "drain_s": 5},
    "hosts": {"silent_max_s": 20},
    "target": {"model": "counting", "bytes_per_token": 4, "overhead_tokens": 0},
    # The machine is shared: how late it is, is not what this is about.
    "audit": {
        "loop_lag_p99_s": 60,
        "event_lateness_p99_s": 60,
        "send_lag_p99_s": 60,
        "cpu_wait_share": 1,
        "unaccounted_share": 1,
    },
    "charts": [],
}


AHEAD = (
    "import sys; sys.executable = sys.argv.pop(1); from ray.scripts.scripts import main; "
    "sys.argv[0] = 'ray'; sys.exit(main())"
)
"""`ray`, whose raylet starts Python by another program."""


def faketime() -> Path | None:
    """Return the library that shifts a process's clocks, where it is installed (Debian's `faketime`)."""
    return next(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"), None)


def environment() -> dict[str, str]:
    """Return the environment of every process: this tree's code, and this Python's programs first."""
    path = f"{BIN}{os.pathsep}{os.environ['PATH']}"
    return {**os.environ, **SETTINGS, "PATH": path, "PYTHONPATH": str(ROOT), "RAY_TMPDIR": ""}


@dataclass
class Cluster:
    """A head, nodes, the server, and a laptop that submits jobs."""

    net: Net
    logs: Path
    head: Node
    server: Node
    laptop: Node
    nodes: list[Node] = field(default_factory=list)
    disk: Path | None = None
    """What the head sees as /tmp."""
    has_jobs: bool = True
    """Whether the head has a job server, which is ten processes. Without it runs are started on the head."""
    clocks_s: dict[str, float] = field(default_factory=dict)
    """By how much the nodes' clocks are ahead, where they are."""

    def start_head(self, disk: Path | None = None) -> None:
        """Start the head with its job server, and wait for it."""
        command = [
            f"{BIN}/ray", "start", "--head", "--block", "--num-cpus=1",
            f"--include-dashboard={str(self.has_jobs).lower()}",
            f"--node-ip-address={self.head.address}", f"--port={RAY_PORT}",
            f"--dashboard-host={self.head.address}", f"--dashboard-port={DASHBOARD_PORT}",
            "--object-store-memory=100000000", "--temp-dir=/tmp/ray",
        ]  # fmt: skip
        self.disk = disk
        self._start(self.head, command, environment(), disk, lambda: self.head.address in self.living())

    def join(self, node: Node, *, clock_s: float = 0.0) -> None:
        """Start a node's raylet; its hosts' wall clocks are ahead by so much."""
        settings, ray = environment(), [f"{BIN}/ray"]
        if clock_s:
            # Ray's daemons do not start under such a clock; the Python of its workers may have one.
            ray = [sys.executable, "-c", AHEAD, str(ROOT / "benchmarks/ahead_python")]
            settings |= {
                "AHEAD_S": f"{clock_s:+}",
                "AHEAD_LIBRARY": str(faketime()),
                "AHEAD_PYTHON": sys.executable,
            }
        command = [
            *ray, "start", "--block", "--num-cpus=1", f"--node-ip-address={node.address}",
            f"--address={self.head.address}:{RAY_PORT}", "--object-store-memory=100000000",
        ]  # fmt: skip
        self._start(node, command, settings, None, lambda: node.address in self.living())

    def _start(
        self,
        node: Node,
        command: list[str],
        settings: dict[str, str],
        disk: Path | None,
        is_there: Callable[[], bool],
    ) -> None:
        """Start a raylet, again where Ray gives it up, and wait until the head takes it to be alive."""
        for _ in range(STARTS_MAX):
            process = node.start(command, settings, self.logs / f"{node.name}.log", disk)
            self.wait_until(lambda started=process: started.poll() is not None or is_there(), node.name)  # type: ignore[misc]
            time.sleep(SETTLED_S)
            if process.poll() is None:
                return
            node.kill()
        raise SystemExit(f"{node.name}: Ray did not start there; logs are in {self.logs}")

    def living(self) -> set[str]:
        """Return the addresses of the nodes that the head takes to be alive."""
        if not self.has_jobs:
            return _living(f"{self.head.address}:{RAY_PORT}")
        said = self.asked(self.head, DASHBOARD_PORT, "/api/v0/nodes?detail=0") or {}
        listed = said.get("data", {}).get("result", {}).get("result", [])
        return {each["node_ip"] for each in listed if each["state"] == "ALIVE"}

    def mend(self, clocks_s: Sequence[float]) -> None:
        """Make all nodes whole again, the first of them with their clocks ahead by so much."""
        for place, node in enumerate(self.nodes):
            node.heal()
            clock_s = clocks_s[place] if place < len(clocks_s) else 0.0
            lives = node.processes and node.processes[0].poll() is None and node.address in self.living()
            if not lives or clock_s != self.clocks_s.get(node.name, 0.0):
                node.kill()
                self.wait_until(lambda: node.address not in self.living(), f"{node.name} to be gone")  # noqa: B023
                self.join(node, clock_s=clock_s)
                self.clocks_s[node.name] = clock_s

    def start_server(self) -> None:
        """Start the counting server anew."""
        self.server.kill()
        command = [sys.executable, str(ROOT / "benchmarks/counting.py"), "--host", "0.0.0.0"]
        self.server.start(command, environment(), self.logs / "server.log")
        self.wait_until(lambda: self.counts() is not None, "the counting server")

    def counts(self) -> dict[str, Any] | None:
        """Return what the server has counted; None while it does not answer."""
        found: dict[str, Any] | None = self.asked(self.server, SERVER_PORT, "/counts")
        return found

    @classmethod
    def asked(cls, node: Node, port: int, path: str) -> Any:
        """GET a page of a node and read its JSON; None where that fails."""
        text = cls.page(node, port, path)
        try:
            return None if text is None else json.loads(text)
        except ValueError:
            return None

    @staticmethod
    def page(node: Node, port: int, path: str) -> str | None:
        """GET a page of a node; None where that fails."""
        try:
            with urllib.request.urlopen(f"http://{node.address}:{port}{path}", timeout=5) as said:
                return str(said.read().decode())
        except (OSError, ValueError):
            return None

    def wait_until(self, holds: Callable[[], bool], what: str, within_s: float = READY_S_MAX) -> None:
        until_s = time.monotonic() + within_s
        while not holds():
            if time.monotonic() > until_s:
                raise SystemExit(f"{what}: not there within {within_s:.0f} s; logs are in {self.logs}")
            time.sleep(0.5)


@contextmanager
def cluster(count: int, logs: Path, *, has_jobs: bool) -> Iterator[Cluster]:
    """A cluster whose machines are there; nothing runs on them yet."""
    net = Net()
    try:
        made = Cluster(net, logs, net.add("head"), net.add("server"), net.add("laptop"))
        made.has_jobs = has_jobs
        made.nodes = [net.add(f"node{k}") for k in range(count)]
        with standing_in(made.laptop):
            yield made
    finally:
        net.close()


def _living(address: str) -> set[str]:
    """Return the addresses of a cluster's living nodes; none where it does not answer."""
    from ray._raylet import GcsClient  # type: ignore[attr-defined]

    try:
        nodes = GcsClient(address=address).get_all_node_info(timeout=10)
    except Exception:  # noqa: BLE001 - Ray raises what it likes while a head starts
        return set()
    return {each.node_manager_address for each in nodes.values() if each.state == 0}


class Job:
    """One `swarm run`: a job submitted from the laptop, or a process on a head that has no jobs."""

    def __init__(self, on: Cluster, name: str, arguments: list[str], files: dict[str, str]) -> None:
        self._on = on
        self.name = name
        # A head without jobs is given the files on its own disk.
        self._folder = on.logs / name if on.has_jobs or on.disk is None else on.disk / f"{name}-files"
        self._folder.mkdir(parents=True, exist_ok=True)
        for file, text in files.items():
            (self._folder / file).parent.mkdir(parents=True, exist_ok=True)
            (self._folder / file).write_text(text)
        self.log = on.logs / f"{name}.log"
        swarm = ["swarm", "run", *arguments]
        if not on.has_jobs:
            address = f"{on.head.address}:{RAY_PORT}"
            command = ["sh", "-c", f'cd /tmp/{self._folder.name} && exec "$@"', "sh", *swarm]
            self._process = on.head.start(
                command, {**environment(), "RAY_ADDRESS": address}, self.log, on.disk
            )
            return
        address = f"http://{on.head.address}:{DASHBOARD_PORT}"
        command = [f"{BIN}/ray", "job", "submit", "--address", address, "--working-dir", str(self._folder)]
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(
                [*command, "--", *swarm], env=environment(), stdout=log, stderr=subprocess.STDOUT
            )

    def wait_for_first_request(self) -> None:
        """Return when the server has been asked, or the job is over."""
        self._on.wait_until(
            lambda: self._process.poll() is not None or bool((self._on.counts() or {}).get("came")),
            f"a request of {self.name}",
            JOB_S_MAX,
        )

    def end(self) -> int:
        """Wait for the end; return the exit code of the command."""
        return self._process.wait(JOB_S_MAX)

    def kill(self) -> None:
        """End the command."""
        self._process.kill()
        self._process.wait()


@dataclass(frozen=True)
class Case:
    """What happens on the cluster while a run goes on."""

    about: str
    prepare: Callable[[Cluster], None] = lambda cluster: None
    """Before its raylets are started."""
    meanwhile: Callable[[Cluster], None] = lambda cluster: None
    """From the first request on."""
    clocks_s: tuple[float, ...] = ()
    """By how much the wall clocks of the first nodes are ahead."""
    changes: dict[str, Any] = field(default_factory=dict)


def lose_one(on: Cluster) -> None:
    time.sleep(10)
    on.nodes[0].kill()


def lose_and_join(on: Cluster) -> None:
    time.sleep(8)
    new = on.net.add("new")
    on.join(new)
    on.nodes[0].kill()
    on.nodes.append(new)


def part_for(seconds: float, *, from_head_alone: bool) -> Callable[[Cluster], None]:
    """Return what parts the first node from all others, or from the head alone, for a time."""

    def part(on: Cluster) -> None:
        time.sleep(8)
        on.nodes[0].part(*((on.head.address,) if from_head_alone else ()))
        time.sleep(seconds)
        on.nodes[0].heal()

    return part


def rough(on: Cluster) -> None:
    """Make the cables of two nodes bad: 50 Mbit/s, and one packet in fifty lost."""
    for node in on.nodes[:2]:
        node.shape(50)
        node.lose(0.02)


def far(on: Cluster) -> None:
    """Put a node 20 ms away, either way: its cable is another one."""
    far = on.net.add("far", delay_s=0.02)
    on.join(far)
    on.nodes.append(far)


CASES = {
    "steady": Case("nothing happens"),
    "lost": Case("a node is lost", meanwhile=lose_one),
    "joined": Case("a node joins, another is lost", meanwhile=lose_and_join),
    "parted": Case("a node is parted for 3 s", meanwhile=part_for(3, from_head_alone=False)),
    "parted-long": Case("a node is parted for 25 s", meanwhile=part_for(25, from_head_alone=False)),
    "split": Case("a node is parted from the head alone, 25 s", meanwhile=part_for(25, from_head_alone=True)),
    "rough": Case("two cables of 50 Mbit/s lose 2 % of the packets", prepare=rough),
    "far": Case("a node is 20 ms away", prepare=far),
    "clock-50": Case("a node's clock is 50 ms ahead", clocks_s=(0.05,)),
    "clock-150": Case("a node's clock is 150 ms ahead", clocks_s=(0.15,)),
    "head": Case("the head is lost; the run is gone on with"),
}


def experiment(on: Cluster, agents: int, hosts: int, duration_s: float, changes: dict[str, Any]) -> str:
    """Return the experiment's file."""
    data = json.loads(json.dumps(EXPERIMENT))
    data["load"] |= {"agents": agents, "duration_s": duration_s}
    data["hosts"] |= {"count": hosts}
    data["target"]["urls"] = [f"http://{on.server.address}:{SERVER_PORT}"]
    for key, value in changes.items():
        data[key] |= value
    return yaml.safe_dump(data)


def played(name: str, on: Cluster, arguments: argparse.Namespace, disk: Path) -> dict[str, Any]:
    """Carry a case out; return its row of the table."""
    case = CASES[name]
    on.mend(case.clocks_s)
    case.prepare(on)
    on.start_server()
    hosts = arguments.hosts or len(on.nodes) + 1
    text = experiment(on, arguments.agents, hosts, arguments.duration_s, case.changes)
    job = Job(on, name, ["experiment.yaml", "--out", f"/tmp/{name}"], {"experiment.yaml": text})
    job.wait_for_first_request()
    case.meanwhile(on)
    if name == "head":
        job = restart_head(on, job, disk)
    code = job.end()
    counts, out = on.counts() or {}, disk / name
    if not (out / "summary.json").is_file():
        print(job.log.read_text()[-3000:], file=sys.stderr)
        raise SystemExit(f"{name}: no summary (exit code {code}); logs are in {on.logs}")
    return {"case": case.about, "nodes": len(on.nodes) + 1, **figures(out, counts)}


def restart_head(on: Cluster, job: Job, disk: Path) -> Job:
    """Lose the head and every raylet with it, start them again, and go on with the run."""
    time.sleep(12)
    on.head.kill()
    job.kill()
    lost_s = time.monotonic()
    for node in on.nodes:
        node.kill()
    on.start_head(disk)
    for node in on.nodes:
        on.join(node)
    print(f"    the cluster was there again after {time.monotonic() - lost_s:.0f} s", flush=True)
    return Job(on, "resumed", ["--resume", "/tmp/head"], {})


def figures(out: Path, counts: dict[str, Any]) -> dict[str, Any]:
    """Return what a run says of itself beside what the server has counted."""
    summary = json.loads((out / "summary.json").read_text())
    rows = pyarrow.parquet.read_table(out / "requests.parquet").to_pylist()
    requests = summary["requests"]
    turns = {(row["agent"], row["turn"]) for row in rows if row["sent_s"] is not None}
    known = Counter(agent for agent, _ in turns)
    answered = Counter((row["agent"], row["turn"]) for row in rows if row["outcome"] == "ok")
    unseen = sum(max(0, count - known[agent]) for agent, count in counts["different"].items())
    never_came = sum(max(0, count - counts["different"].get(agent, 0)) for agent, count in known.items())
    absences = summary["hosts"]["absences"]
    return {
        "agents": summary["agents"]["peak_concurrent"],
        "requests/s": round(summary["throughput"]["requests_per_s"] or 0.0, 1),
        "came": counts["came"],
        "finished": requests["finished"],
        "twice at the server": counts["doubled"],
        "at the server, in no row": unseen,
        "in a row, never came": never_came,
        "rows doubled": sum(count - 1 for count in answered.values()),
        "unaccounted": requests["unaccounted"],
        "interrupted": requests["interrupted"],
        "failed": requests["failed"],
        "clock off, ms": round(1e3 * (summary["hosts"]["worst_clock_offset_s"]["value"] or 0.0), 1),
        "hosts lost": sum(each["is_lost"] for each in absences),
        "s to go on": [round(each["to_s"] - each["from_s"], 1) for each in absences if each["to_s"]],
        "valid": summary["valid"],
        "why": summary["invalid_reasons"],
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("cases", nargs="*", metavar="CASE", help=f"one of {', '.join(CASES)}; all")
    parser.add_argument("--nodes", type=int, default=3, help="beside the head")
    parser.add_argument("--agents", type=int, default=60)
    parser.add_argument("--hosts", type=int, help="default: one for each node, the head's included")
    parser.add_argument("--duration-s", type=float, default=60.0)
    parser.add_argument("--no-jobs", action="store_true", help="start runs on the head: less to start")
    arguments = parser.parse_args()
    unknown = [name for name in arguments.cases if name not in CASES]
    if unknown:
        parser.error(f"{', '.join(unknown)}: no such case; there are {', '.join(CASES)}")
    if lacks := missing():
        raise SystemExit(f"this machine cannot be several: it lacks {', '.join(lacks)}")
    if faketime() is None and any(CASES[name].clocks_s for name in arguments.cases or CASES):
        raise SystemExit("clocks cannot be shifted: faketime is not installed")
    print(f"Linux {platform.release()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}", flush=True)
    logs = Path(tempfile.mkdtemp(prefix="swn-"))
    disk = logs / "head-disk"
    disk.mkdir()
    # What runs on its machines is ended by whatever ends this.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    with cluster(arguments.nodes, logs, has_jobs=not arguments.no_jobs) as on:
        on.start_head(disk)
        for name in arguments.cases or list(CASES):
            row = played(name, on, arguments, disk)
            print(f"{name}: {json.dumps(row)}   (load {os.getloadavg()[0]:.0f}, {logs})", flush=True)


if __name__ == "__main__":
    main()
