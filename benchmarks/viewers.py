"""Whether those who look at a run's live page delay its requests: send lag with and without them.

    python benchmarks/viewers.py [--rounds 4] [--seconds 60] [--agents 400] [--viewers 10] [--json FILE]

Each round runs the same experiment three times, in turns: without `--live`; with a page that nobody looks at;
with a page at which ten clients read every state and one more opens it and never reads. The clients are one
process of their own, as a browser on this machine would be. The run's own send lag is compared: what lies
between when a request was due and its first byte. Rounds differ by more than viewers do unless p99 says so.
"""

from __future__ import annotations

import argparse
import json
import re
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from statistics import median
from typing import Any
from urllib.parse import urlsplit

ROOT = Path(__file__).resolve().parents[1]
EXPERIMENT = ROOT / "experiments" / "quickstart.yaml"
WAYS = ("no page", "page", "viewed")
URL = re.compile(r"live page: (http\S+)")
OPEN_S_MAX = 90.0
RECEIVED_BYTES = 65_536
QUANTILES = ("p50", "p95", "p99", "max")


def main() -> None:
    """Run the rounds, print a table, write JSON."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--agents", type=int, default=400)
    parser.add_argument("--viewers", type=int, default=10)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--look", metavar="URL", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.look is not None:
        look(options.look, options.viewers)
        return
    found: dict[str, list[dict[str, Any]]] = {way: [] for way in WAYS}
    for number in range(options.rounds):
        # The order turns, so that what a machine does over an hour falls on all ways alike.
        for at in range(len(WAYS)):
            way = WAYS[(at + number) % len(WAYS)]
            run = one_run(way, options)
            found[way].append(run)
            lag = "  ".join(f"{name} {1e3 * run['send_lag_s'][name]:.2f} ms" for name in QUANTILES)
            states = (
                ""
                if way != "viewed"
                else f"  {run['states']} states read by each, {run['slept']} waited for the sleeper"
            )
            print(
                f"round {number + 1}  {way:8}  {run['requests']} requests  send lag {lag}{states}", flush=True
            )
    print("\n".join(table(found)))
    if options.json is not None:
        options.json.write_text(json.dumps(found, indent=2) + "\n")


def table(found: dict[str, list[dict[str, Any]]]) -> list[str]:
    """Return the medians and the ranges over rounds, and what viewers add to the p99 round by round."""
    lines = ["", f"{'send lag, ms':14}" + "".join(f"{name:>24}" for name in QUANTILES)]
    for way, runs in found.items():
        cells = []
        for name in QUANTILES:
            values = [1e3 * run["send_lag_s"][name] for run in runs]
            cells.append(f"{median(values):8.2f} ({min(values):.2f}..{max(values):.2f})")
        lines.append(f"{way:14}" + "".join(f"{cell:>24}" for cell in cells))
    for way in WAYS[1:]:
        pairs = zip(found[way], found[WAYS[0]], strict=True)
        more = sorted(1e3 * (run["send_lag_s"]["p99"] - base["send_lag_s"]["p99"]) for run, base in pairs)
        lines.append(
            f"{way}: p99 {median(more):+.2f} ms in the median of rounds ({more[0]:+.2f}..{more[-1]:+.2f})"
        )
    without = [1e3 * run["send_lag_s"]["p99"] for run in found[WAYS[0]]]
    lines.append(f"noise: p99 without a page differs by {max(without) - min(without):.2f} ms between rounds")
    return lines


def one_run(way: str, options: argparse.Namespace) -> dict[str, Any]:
    """Carry out one run, looked at in one of the ways; return its send lag and how many states were read."""
    with tempfile.TemporaryDirectory() as scratch:
        out = Path(scratch) / "run"
        command = [sys.executable, "-m", "swarm", "run", str(EXPERIMENT), "--out", str(out), "--plain"]
        for change in (f"load.agents={options.agents}", f"load.duration_s={options.seconds + 12}"):
            command += ["--set", change]
        command += [] if way == "no page" else ["--live"]
        run = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        opened = Url(run)
        looking = None
        if way == "viewed":
            me = [sys.executable, __file__, "--look", opened.url(), "--viewers", str(options.viewers)]
            looking = subprocess.Popen(me, stdout=subprocess.PIPE, text=True)
        code = run.wait()
        opened.thread.join()
        if code not in (0, 1, 99) or not (out / "summary.json").is_file():
            raise SystemExit(f"{way}: the run ended with {code}:\n" + "\n".join(opened.lines[-20:]))
        summary = json.loads((out / "summary.json").read_text())
        found = {
            "requests": summary["requests"]["finished"],
            "send_lag_s": summary["send_lag_s"],
            "valid": summary["valid"],
            "states": None,
            "slept": None,
        }
        if looking is not None:
            said, _ = looking.communicate(timeout=60)
            found |= json.loads(said)
        return found


class Url:
    """Follows a run's standard error, and has the page's URL once it is told."""

    def __init__(self, run: subprocess.Popen[str]) -> None:
        self.lines: list[str] = []
        self._run = run
        self._found = threading.Event()
        self._url = ""
        self.thread = threading.Thread(target=self._read, daemon=True)
        self.thread.start()

    def url(self) -> str:
        """Return the URL, or give up."""
        if not self._found.wait(OPEN_S_MAX):
            self._run.terminate()
            raise SystemExit("the run told no live page:\n" + "\n".join(self.lines[-20:]))
        return self._url

    def _read(self) -> None:
        assert self._run.stderr is not None
        for line in self._run.stderr:
            self.lines.append(line.rstrip())
            told = URL.search(line)
            if told is not None:
                self._url = told[1]
                self._found.set()


def look(url: str, viewers: int) -> None:
    """Open the page's states so many times and read them, and once more without reading; print what came."""
    states = [0] * viewers
    sleeper = opened(url)
    readers = [threading.Thread(target=read, args=(opened(url), states, at)) for at in range(viewers)]
    for reader in readers:
        reader.start()
    for reader in readers:
        reader.join()
    slept = [0]
    read(sleeper, slept, 0)
    print(json.dumps({"states": int(median(states)) if states else 0, "slept": slept[0]}))


def opened(url: str) -> socket.socket:
    """Return a connection on which the page's states come."""
    parts = urlsplit(url)
    assert parts.hostname is not None and parts.port is not None
    until = time.monotonic() + OPEN_S_MAX
    while True:
        try:
            connection = socket.create_connection((parts.hostname, parts.port))
            break
        except ConnectionRefusedError:
            if time.monotonic() > until:
                raise
            time.sleep(0.1)
    request = f"GET /events?{parts.query} HTTP/1.1\r\nHost: {parts.netloc}\r\nConnection: close\r\n\r\n"
    connection.sendall(request.encode())
    return connection


def read(connection: socket.socket, counts: list[int], at: int) -> None:
    """Count states until the page ends the connection."""
    tail = b""
    while data := connection.recv(RECEIVED_BYTES):
        both = tail + data
        counts[at] += both.count(b"data: ")
        # Too short to be counted again.
        tail = both[-5:]


if __name__ == "__main__":
    main()
