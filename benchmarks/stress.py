"""A prefill cluster under stress: `experiments/prefill_stress.yaml` against fronts on nodes of their own.

    python benchmarks/stress.py [CASE]... [--nodes 2] [--agents 1600] [--fronts 4]

Each of its fronts is `swarm serve` on a node that is really apart (`node_net.py`), with one of the fleet's
nodes; the run is a job submitted to the head, its hosts are on the other nodes. Beside it stands what the
same load does in virtual time: both say what was full.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from node_net import Node, missing
from nodes import ROOT, Cluster, Job, cluster, environment

FRONT_PORT = 8000
FRONTS = 4
FILE = ROOT / "experiments/prefill_stress.yaml"
FLEET = ROOT / "experiments/fleets/prefill_h100x8.yaml"
SUCCESS = re.compile(r"^vllm:request_success_total\{[^}]*\} ([0-9.e+]+)$", re.MULTILINE)


@dataclass(frozen=True)
class Stress:
    """What is made narrow."""

    about: str
    sets: tuple[str, ...] = ()
    fleet_sets: tuple[str, ...] = ()
    mbit: float = 1000.0
    """Of each node that runs hosts."""


QUICK = ("cost={kind: simple, prefill_tokens_per_s: 50000000, decode_base_s: 0.001}",)
CASES = {
    "prefill": Stress("as shipped"),
    "half": Stress("half the agents", sets=("load.agents=800",)),
    "network": Stress("nodes of 8 Mbit/s, a fleet that is quick", fleet_sets=QUICK, mbit=8),
    "cores": Stress(
        "think times of 2 s, a fleet that is quick",
        sets=("workload.think_s.median=2", "load.agents=1000"),
        fleet_sets=QUICK,
    ),
}


def serve(on: Cluster, count: int, fleet_sets: Sequence[str]) -> list[Node]:
    """Start the fronts, each with its share of the fleet."""
    fronts = [node for name, node in on.net.nodes.items() if name.startswith("front")]
    fronts = fronts or [on.net.add(f"front{k}") for k in range(count)]
    for front in fronts:
        front.kill()
        sets = [word for each in ("replicas.0.count=1", *fleet_sets) for word in ("--set", each)]
        command = [sys.executable, "-m", "swarm", "serve", str(FLEET), "--host", front.address, *sets]
        front.start([*command, "--port", str(FRONT_PORT)], environment(), on.logs / f"{front.name}.log")
    for front in fronts:
        on.wait_until(lambda: on.asked(front, FRONT_PORT, "/health") is not None, front.name)  # noqa: B023
    return fronts


def played(name: str, on: Cluster, arguments: argparse.Namespace, disk: Path) -> dict[str, Any]:
    """Carry a case out, live and in virtual time; return both."""
    case = CASES[name]
    fronts = serve(on, arguments.fronts, case.fleet_sets)
    for node in (on.head, *on.nodes):
        node.shape(case.mbit)
    urls = ", ".join(f"http://{front.address}:{FRONT_PORT}" for front in fronts)
    load = [f"load.agents={arguments.agents}", *case.sets, *arguments.set]
    live = [f"target.urls=[{urls}]", f"hosts.network_gbit_per_s={case.mbit / 1000}", *load]
    if arguments.hosts:
        live.append(f"hosts.count={arguments.hosts}")
    files = {FILE.name: FILE.read_text(), f"fleets/{FLEET.name}": FLEET.read_text()}
    before = {node.name: node.received_bytes() for node in on.nodes}
    job = Job(on, name, [FILE.name, *_sets(live), "--out", f"/tmp/{name}"], files)
    code = job.end()
    crossed = {
        node.name: [
            round((b - a) / 1e6, 1) for a, b in zip(before[node.name], node.received_bytes(), strict=True)
        ]
        for node in on.nodes
    }
    path = disk / name / "summary.json"
    if not path.is_file():
        print(job.log.read_text()[-3000:], file=sys.stderr)
        raise SystemExit(f"{name}: no summary (exit code {code}); logs are in {on.logs}")
    simulated = on.logs / f"{name}-simulated"
    fleet = [f"fleet.{each}" for each in (f"replicas.0.count={arguments.fronts}", *case.fleet_sets)]
    command = [sys.executable, "-m", "swarm", "simulate", str(FILE), "--out", str(simulated)]
    subprocess.run(
        [*command, *_sets(["fleet.router=session_affine", *fleet, *load])],
        env=environment(), check=False, capture_output=True,
    )  # fmt: skip
    answered = sum(finished(on, front) for front in fronts)
    return {
        "case": case.about,
        "nodes": len(on.nodes) + 1 + len(fronts),
        "live": figures(path),
        "simulated": figures(simulated / "summary.json"),
        "answered by the fronts": answered,
        "MB received and sent, by node": crossed,
    }


def finished(on: Cluster, front: Node) -> int:
    """Return how many requests a front has answered in full."""
    text = on.page(front, FRONT_PORT, "/metrics") or ""
    return int(sum(float(value) for value in SUCCESS.findall(text)))


def figures(path: Path) -> dict[str, Any]:
    """Return what a run says of itself."""
    summary = json.loads(path.read_text())
    saturation = summary["saturation"] or {"bound_by": None, "resources": []}
    return {
        "agents": summary["agents"]["peak_concurrent"],
        "requests/s": round(summary["throughput"]["requests_per_s"] or 0.0, 1),
        "hit rate": summary["cache"]["hit_rate"],
        "effective TTFT p95": summary["effective_ttft_s"]["p95"],
        "finished": summary["requests"]["finished"],
        "failed": summary["requests"]["failed"],
        "bound by": saturation["bound_by"],
        "shares": {
            each["name"]: each["share"] and round(each["share"], 2) for each in saturation["resources"]
        },
        "told": {each["name"]: each["told"] for each in saturation["resources"]},
        "valid": summary["valid"],
        "why": summary["invalid_reasons"],
    }


def _sets(changes: Sequence[str]) -> list[str]:
    return [word for each in changes for word in ("--set", each)]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("cases", nargs="*", metavar="CASE", help=f"of {', '.join(CASES)}; default: prefill")
    parser.add_argument("--nodes", type=int, default=2, help="that run hosts, beside the head and the fronts")
    parser.add_argument("--agents", type=int, default=1600)
    parser.add_argument("--fronts", type=int, default=FRONTS, help="each with one of the fleet's nodes")
    parser.add_argument("--hosts", type=int, help="default: as the run decides")
    parser.add_argument(
        "--set", action="append", default=[], help="KEY=VALUE of the experiment, live and not"
    )
    parser.add_argument("--no-jobs", action="store_true", help="start runs on the head: less to start")
    arguments = parser.parse_args()
    unknown = [name for name in arguments.cases if name not in CASES]
    if unknown:
        parser.error(f"{', '.join(unknown)}: no such case; there are {', '.join(CASES)}")
    if lacks := missing():
        raise SystemExit(f"this machine cannot be several: it lacks {', '.join(lacks)}")
    print(f"Linux {platform.release()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}", flush=True)
    logs = Path(tempfile.mkdtemp(prefix="swn-stress-"))
    disk = logs / "head-disk"
    disk.mkdir()
    # What runs on its machines is ended by whatever ends this.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    with cluster(arguments.nodes, logs, has_jobs=not arguments.no_jobs) as on:
        on.start_head(disk)
        on.mend(())
        for name in arguments.cases or ["prefill"]:
            row = played(name, on, arguments, disk)
            print(f"{name}: {json.dumps(row)}   (load {os.getloadavg()[0]:.0f}, {logs})", flush=True)


if __name__ == "__main__":
    main()
