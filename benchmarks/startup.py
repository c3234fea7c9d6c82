"""What a run costs before and beside its turns: time to the first request, and CPU beyond Ray's own.

    python benchmarks/startup.py [--rounds 3] [--by-process]

A run of one agent for two seconds against a server that notes when it is first asked, beside a process that
only starts Ray and ends it. CPU is user and system time of a command and of all that it has started: until
the summary is on disk, which is before the pictures (of Ray alone: until it is about to end), and to the end.
"""

from __future__ import annotations

import argparse
import os
import platform
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import yaml

EXPERIMENT = {
    "name": "startup",
    "workload": {"kind": "synthetic", "idle_cap_s": 0.2, "replies": "planned"},
    "load": {"agents": 1, "ramp_s": 0, "duration_s": 2, "drain_s": 1},
    "audit": {"delivered_share": 0},
}
BARE = (
    "import pathlib, ray, sys, time; "
    "ray.init(address='local', include_dashboard=False, logging_level='ERROR'); "
    "ray.get([ray.remote(lambda: 1).remote() for _ in range(3)]); "
    # As long as a run lasts: what Ray's own processes take meanwhile is no run's.
    "time.sleep(3); pathlib.Path(sys.argv[1]).touch(); ray.shutdown()"
)
RUN = (
    "import pathlib, ray, sys, time; start, there = ray.init, sys.argv.pop(); "
    "ray.init = lambda *a, **k: (start(*a, **k), pathlib.Path(there).write_text(str(time.time())))[0]; "
    "from swarm.cli import main; main()"
)
"""A run that notes when Ray is there."""
TICKS = os.sysconf("SC_CLK_TCK")
LOOK_S = 0.02
ANSWER = (
    b'data: {"choices":[{"index":0,"delta":{"content":" a"},"finish_reason":"length"}]}\n\ndata: [DONE]\n\n'
)
ASKED: list[float] = []
"""When agents' requests came, in Unix seconds; probes before the run are not among them."""


class Stub(BaseHTTPRequestHandler):
    """Lists a model, and answers every turn with one token."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self._send(b'{"object":"list","data":[{"id":"stub","object":"model"}]}', "application/json")

    def do_POST(self) -> None:
        if self.headers.get("X-Session-ID", "").startswith("s0"):
            ASKED.append(time.time())
        self.rfile.read(int(self.headers["Content-Length"]))
        self._send(ANSWER, "text/event-stream")

    def log_message(self, *_: object) -> None:
        pass

    def _send(self, body: bytes, kind: str) -> None:
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@dataclass
class Spent:
    """What a command took; CPU by process, as last seen."""

    started_s: float
    wall_s: float
    at_mark: dict[str, float]
    at_end: dict[str, float]

    @property
    def told(self) -> str:
        """CPU until the mark and to the end."""
        return f"{sum(self.at_mark.values()):.1f} and {sum(self.at_end.values()):.1f} s CPU"


def spent(command: list[str], mark: Path) -> Spent:
    """Run a command; look at its CPU when a file is there, and at its end."""
    started_s, began_s = time.time(), time.monotonic()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    seen: dict[int, tuple[str, float]] = {}
    at_mark: dict[str, float] = {}
    while process.poll() is None:
        is_there = mark.exists()
        seen |= family(process.pid, set(seen))
        if is_there and not at_mark:
            at_mark = by_name(seen)
        time.sleep(LOOK_S)
    return Spent(started_s, time.monotonic() - began_s, at_mark, by_name(seen))


def family(root: int, known: set[int]) -> dict[int, tuple[str, float]]:
    """Return name and CPU seconds of a process, of those that it has started, and of those that were its."""
    lines: dict[int, tuple[int, str, float]] = {}
    for place in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            head, _, rest = place.read_text().rpartition(")")
            fields = rest.split()
            seconds = (int(fields[11]) + int(fields[12])) / TICKS
            lines[int(place.parent.name)] = int(fields[1]), head.partition("(")[2], seconds
    own = {root, *known} & set(lines)
    while more := {pid for pid, (parent, _, _) in lines.items() if parent in own and pid not in own}:
        own |= more
    return {pid: (lines[pid][1], lines[pid][2]) for pid in own}


def by_name(seen: dict[int, tuple[str, float]]) -> dict[str, float]:
    """Return CPU seconds by a process's name; its number tells those of one name apart."""
    return {f"{name} {pid}": seconds for pid, (name, seconds) in seen.items() if seconds >= 0.05}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--by-process", action="store_true", help="CPU of each process until the summary")
    options = parser.parse_args()
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    server = ThreadingHTTPServer(("127.0.0.1", 0), Stub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}"
    print(f"Python {platform.python_version()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "startup.yaml"
        path.write_text(yaml.safe_dump(EXPERIMENT))
        for number in range(options.rounds):
            out, there = Path(folder) / f"{number}", Path(folder) / f"there-{number}"
            mark = Path(folder) / f"bare-{number}"
            bare = spent([sys.executable, "-c", BARE, str(mark)], mark)
            ASKED.clear()
            command = [sys.executable, "-c", RUN, "run", str(path), "--target", url, "--out", str(out)]
            run = spent([*command, str(there)], out / "summary.json")
            first = "none"
            if ASKED and there.exists():
                after_s = ASKED[0] - float(there.read_text())
                first = f"{ASKED[0] - run.started_s:.1f} s, {after_s:.1f} s after Ray was there"
            more = [
                sum(run.at_mark.values()) - sum(bare.at_mark.values()),
                sum(run.at_end.values()) - sum(bare.at_end.values()),
            ]
            print(
                f"Ray alone {bare.wall_s:.1f} s wall, {bare.told}   "
                f"a run {run.wall_s:.1f} s wall, {run.told} ({more[0]:.1f} and {more[1]:.1f} more)   "
                f"first request after {first}",
                flush=True,
            )
            if options.by_process:
                for what, each in (("Ray alone", bare), ("a run", run)):
                    busiest = sorted(each.at_mark.items(), key=lambda item: -item[1])
                    print(f"  {what}: " + ", ".join(f"{name} {cpu:.2f}" for name, cpu in busiest[:8]))
    server.shutdown()


if __name__ == "__main__":
    main()
