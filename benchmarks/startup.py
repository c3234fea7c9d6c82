"""What a run costs before and beside its turns: time to the first request, and CPU beyond Ray's own.

    python benchmarks/startup.py [--rounds 3]

A run of one agent for two seconds against a server that notes when it is first asked, beside a process that
only starts Ray and ends it. CPU is user and system time of each command and the processes that it waited for.
"""

from __future__ import annotations

import argparse
import os
import platform
import resource
import subprocess
import sys
import tempfile
import threading
import time
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
    "import os, ray; ray.init(address='local', include_dashboard=False, logging_level='ERROR'); "
    "ray.get([ray.remote(lambda: 1).remote() for _ in range(3)]); ray.shutdown()"
)
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


def spent(command: list[str]) -> tuple[float, float, float]:
    """Return when a command was started, and its wall and CPU time."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    started, wall = time.time(), time.monotonic()
    subprocess.run(command, check=False, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wall = time.monotonic() - wall
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return started, wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=3)
    rounds = parser.parse_args().rounds
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    server = ThreadingHTTPServer(("127.0.0.1", 0), Stub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}"
    print(f"Python {platform.python_version()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "startup.yaml"
        path.write_text(yaml.safe_dump(EXPERIMENT))
        for number in range(rounds):
            _, bare_wall, bare_cpu = spent([sys.executable, "-c", BARE])
            ASKED.clear()
            command = [sys.executable, "-c", "from swarm.cli import main; main()", "run", str(path)]
            started, wall, cpu = spent([*command, "--target", url, "--out", str(Path(folder) / f"{number}")])
            first = f"{ASKED[0] - started:.1f} s" if ASKED else "none"
            print(
                f"Ray alone {bare_wall:.1f} s wall, {bare_cpu:.1f} s CPU   "
                f"a run {wall:.1f} s wall, {cpu:.1f} s CPU, first request after {first}",
                flush=True,
            )
    server.shutdown()


if __name__ == "__main__":
    main()
