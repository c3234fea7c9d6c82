"""What is lost of a run when a part of it is lost: kinds of faults x phases, against a counting server.

    python benchmarks/faults.py [--kinds host,disk] [--phases start,drain] [--at-once 4] [--json FILE]

The server is a process of its own that knows nothing of Swarm. It numbers the requests that it gets, writes
each number down before it answers, and puts the number into the reply's usage: so each reply is to be found
in the run's rows, once. Every run is `swarm run` on a Ray cluster on this machine, of three nodes where one
is to be lost; a run that a fault has ended is gone on with by `--resume`. One line for each run, and a table
of all; the exit code is 1 where a request was lost, counted twice, or missing in silence. Disks need the
right to mount (root).
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
DURATION_S, WARMUP_S = 10.0, 3.0
PHASES = ("start", "warm-up", "measuring", "drain", "results")
KINDS = ("host", "node", "coordinator", "driver", "target", "provider", "disk", "inodes")
PAIRS = ("host+coordinator", "driver+target", "node+provider", "driver+disk")
SERIAL_FROM = 2000
"""The first number, so that every one is a likely count of prompt tokens."""
AWAY_S = 0.8
"""How long a server is away, or answers nothing but errors."""
WAIT_S_MAX = 600.0
TRIALS_MAX = 3
"""Most requests that a run which never begins may have sent."""
STARTS_MAX = 6
RAY = {
    "RAY_AUTH_MODE": "disabled",
    "RAY_USAGE_STATS_ENABLED": "0",
    # A node's death is seen within seconds, and a busy machine's is not taken for one.
    "RAY_health_check_initial_delay_ms": "2000",
    "RAY_health_check_period_ms": "500",
    "RAY_health_check_timeout_ms": "3000",
    "RAY_health_check_failure_threshold": "4",
}
EXPERIMENT: dict[str, Any] = {
    "name": "faults",
    "workload": {
        "kind": "synthetic",
        "tool_tokens": 300,
        "system_tokens": 100,
        "first_context": {"median": 200, "sigma": 0.3},
        "turns": {"median": 400, "sigma": 0.1},
        "tool_think_s": {"median": 0.15, "sigma": 0.4},
        "human_wait": {"body": {"median": 0.2, "sigma": 0.3}, "tail_share": 0.0},
        "tool_result": {"median": 40, "sigma": 0.4},
        "output": {"median": 8, "sigma": 0.4, "least": 4, "most": 16},
        "high_watermark": 4000,
    },
    "load": {"agents": 12, "ramp_s": 0.5, "warmup_s": WARMUP_S, "duration_s": DURATION_S, "drain_s": 2},
    "hosts": {"count": 2, "report_every_s": 0.5, "silent_max_s": 20},
    "target": {
        "model": "counted",
        "bytes_per_token": 4.0,
        "overhead_tokens": 0,
        "exact_output": False,
        "retry": {"attempts_max": 3, "wait_first_s": 0.2},
    },
    # The machine is shared: lags are not what this is about.
    "audit": {
        "loop_lag_p99_s": 60,
        "send_lag_p99_s": 60,
        "cpu_wait_share": 1,
        "delivered_share": 0,
        "unaccounted_share": 1,
        "failed_share": 1,
        "truncated_share": 1,
    },
}


class CountingServer:
    """Streams replies over plain HTTP/1.1; each request has a number that outlives the process."""

    def __init__(self, log: Path) -> None:
        self._log = os.open(log, os.O_CREAT | os.O_APPEND | os.O_RDWR)
        numbers = [int(line.split()[1]) for line in log.read_text().splitlines() if line.startswith("got")]
        self._next = max(numbers, default=SERIAL_FROM - 1) + 1
        self._open: set[asyncio.StreamWriter] = set()
        self._away_until_s = 0.0

    def fail(self) -> None:
        """Cut every connection, and answer with errors for a while."""
        self._away_until_s = time.monotonic() + AWAY_S
        for writer in self._open:
            writer.transport.abort()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer the requests of one connection."""
        self._open.add(writer)
        try:
            while await self._answer(reader, writer):
                pass
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            self._open.discard(writer)
            writer.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        fields = dict(line.lower().split(": ", 1) for line in head[1:] if ": " in line)
        body = await reader.readexactly(int(fields.get("content-length", 0)))
        if not head[0].startswith("POST"):
            writer.write(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
            await writer.drain()
            return True
        serial, self._next = self._next, self._next + 1
        os.write(self._log, b"got %d %.3f\n" % (serial, time.time()))
        if time.monotonic() < self._away_until_s:
            writer.write(b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n")
            await writer.drain()
            os.write(self._log, b"bad %d\n" % serial)
            return True
        try:
            await self._stream(writer, serial, json.loads(body))
        except ConnectionError:
            os.write(self._log, b"bad %d\n" % serial)
            raise
        os.write(self._log, b"ok %d\n" % serial)
        return True

    async def _stream(self, writer: asyncio.StreamWriter, serial: int, asked: dict[str, Any]) -> None:
        tokens = int(asked.get("max_completion_tokens") or asked.get("max_tokens") or 8)
        pause_s = random.Random(serial).uniform(0.1, 0.6) / tokens
        writer.write(
            b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
        )
        for _ in range(tokens):
            await asyncio.sleep(pause_s)
            writer.write(_event({"choices": [{"index": 0, "delta": {"content": "word "}}]}))
            await writer.drain()
        writer.write(_event({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}))
        usage = {"prompt_tokens": serial, "completion_tokens": tokens, "total_tokens": serial + tokens}
        writer.write(_event({"choices": [], "usage": usage}))
        writer.write(_chunk(b"data: [DONE]\n\n") + b"0\r\n\r\n")
        await writer.drain()


def _event(data: dict[str, Any]) -> bytes:
    return _chunk(
        b"data: " + json.dumps({"id": "c", "object": "chat.completion.chunk", **data}).encode() + b"\n\n"
    )


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


async def serve_counting(port: int, log: Path) -> None:
    """Be the server, until killed."""
    counting = CountingServer(log)
    asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, counting.fail)
    server = await asyncio.start_server(counting.serve, "127.0.0.1", port)
    await server.serve_forever()


class Target:
    """The counting server as a process."""

    def __init__(self, folder: Path) -> None:
        self.log = folder / "server.log"
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self._port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{self._port}"
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    def start(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, __file__, "--serve", str(self._port), str(self.log)]
        )
        _until(self._answers, "the counting server does not answer")

    def _answers(self) -> bool:
        with socket.socket() as asks:
            return asks.connect_ex(("127.0.0.1", self._port)) == 0

    def kill(self) -> None:
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def restart(self) -> None:
        """Die without notice, and come back a little later."""
        self.kill()
        time.sleep(AWAY_S)
        self.start()

    def fail(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGUSR1)

    def lines(self) -> list[list[str]]:
        return [line.split() for line in self.log.read_text().splitlines()] if self.log.exists() else []

    def serials(self, word: str) -> set[int]:
        return {int(line[1]) for line in self.lines() if line[0] == word}

    def begun_s(self, *, after: int) -> float | None:
        """Return when the first request after so many came, in Unix seconds."""
        times = [float(line[2]) for line in self.lines() if line[0] == "got"]
        return times[after] if len(times) > after else None


class Disk:
    """A small file system of its own, which a run's folder lies on."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.mkdir()
        options = "size=16m,nr_inodes=400"
        done = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", path], capture_output=True)
        self.is_mounted = done.returncode == 0

    def fill(self) -> None:
        with contextlib.suppress(OSError), (self.path / "filler").open("wb", buffering=0) as file:
            while file.write(bytes(1 << 16)):
                pass
        with contextlib.suppress(OSError), (self.path / "filler").open("ab", buffering=0) as file:
            while file.write(bytes(512)):
                pass

    def take_inodes(self) -> None:
        (self.path / "inodes").mkdir()
        with contextlib.suppress(OSError):
            for number in range(1000):
                (self.path / "inodes" / str(number)).touch()

    def clear(self) -> None:
        (self.path / "filler").unlink(missing_ok=True)
        shutil.rmtree(self.path / "inodes", ignore_errors=True)

    def close(self) -> None:
        if self.is_mounted:
            subprocess.run(["umount", "-l", self.path], check=False)


def processes_below(pid: int) -> list[tuple[int, str]]:
    """Return the children of a process, each with its command line."""
    found = []
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError, ValueError, IndexError):
            parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            if parent == pid:
                found.append((int(entry.name), (entry / "cmdline").read_bytes().decode(errors="replace")))
    return sorted(found)


class Nodes:
    """A Ray cluster on this machine."""

    def __init__(self, count: int) -> None:
        from ray.cluster_utils import Cluster

        self._folder = tempfile.mkdtemp(prefix="faults-ray-")
        os.mkdir(os.path.join(self._folder, "ray"))
        os.environ.update(RAY, RAY_TMPDIR=self._folder)
        self._count = count
        head = {"num_cpus": 2, "include_dashboard": False, "temp_dir": self._folder}
        self._cluster = _patiently(lambda: Cluster(initialize_head=True, head_node_args=head))
        self.fill()

    @property
    def address(self) -> str:
        return str(self._cluster.address)

    def fill(self) -> None:
        """Let there be as many nodes as at first."""
        while len(self._alive()) < self._count:
            _patiently(lambda: self._cluster.add_node(num_cpus=2))

    def _alive(self) -> list[Any]:
        return [node for node in self._cluster.list_all_nodes() if node.remaining_processes_alive()]

    def _raylet(self, node: Any) -> int:
        return int(node.all_processes["raylet"][0].process.pid)

    def actors(self, name: str, driver: int, node: Any = None) -> list[int]:
        """Return the pids of a driver's actors by their class."""
        jobs = {job["DriverPid"]: job["JobID"] for job in self._cluster.global_state.job_table()}
        nodes = self._alive() if node is None else [node]
        return [
            pid
            for each in nodes
            for pid, line in processes_below(self._raylet(each))
            if line.startswith(f"ray::{name}") and _job_of(pid) == jobs.get(driver)
        ]

    def kill_one_with_hosts(self, driver: int) -> None:
        """End a node without notice, with all that it runs and the journals on its disk."""
        workers = [node for node in self._alive() if node is not self._cluster.head_node]
        node = max(workers, key=lambda each: len(self.actors("RemoteHost", driver, each)))
        hosts = self.actors("RemoteHost", driver, node)
        journals = {path for pid in hosts for path in _journals_of(pid)}
        workers_of = [pid for pid, _ in processes_below(self._raylet(node))]
        for pid in (self._raylet(node), *workers_of):
            _kill(pid)
        for path in journals:
            path.unlink(missing_ok=True)

    def close(self) -> None:
        self._cluster.shutdown()
        shutil.rmtree(self._folder, ignore_errors=True)


def _job_of(pid: int) -> str:
    """Return the Ray job of a worker."""
    with contextlib.suppress(OSError):
        for entry in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0"):
            if entry.startswith(b"RAY_JOB_ID="):
                return entry.partition(b"=")[2].decode()
    return ""


def _journals_of(pid: int) -> Iterator[Path]:
    with contextlib.suppress(OSError):
        for entry in Path(f"/proc/{pid}/fd").iterdir():
            with contextlib.suppress(OSError):
                path = Path(os.readlink(entry))
                if path.name.startswith("host-") and path.suffix == ".journal":
                    yield path


def _patiently(start: Callable[[], Any]) -> Any:
    """Start a part of Ray; where the machine is busy it takes more than Ray's half a minute."""
    for left in reversed(range(STARTS_MAX)):
        try:
            return start()
        except Exception:
            if not left:
                raise
            time.sleep(5.0)
    raise AssertionError("unreachable")


def _kill(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def _until(holds: Callable[[], object], otherwise: str) -> None:
    until_s = time.monotonic() + WAIT_S_MAX
    while not holds():
        if time.monotonic() > until_s:
            raise TimeoutError(otherwise)
        time.sleep(0.02)


@dataclass
class Found:
    """What one run came to."""

    kind: str
    phase: str
    tried: int = 0
    """Requests that tried the target before the run, as its notes say; all, where the run never began."""
    served: int = 0
    """Requests that the server got, but for those."""
    sent: int = 0
    """Requests that the run says it sent."""
    finished: int = 0
    """Replies that rows tell of as finished."""
    missing: int = 0
    """Requests that the server got, and that no row tells of."""
    unaccounted: int = 0
    """Requests that the run says it knows nothing of."""
    doubled: int = 0
    wall_s: float = 0.0
    codes: list[int] = field(default_factory=list)
    told: list[str] = field(default_factory=list)
    trouble: list[str] = field(default_factory=list)

    @property
    def lost(self) -> int:
        return max(0, self.missing - self.unaccounted)

    def line(self) -> str:
        return (
            f"{self.kind} in {self.phase}: tried {self.tried}, served {self.served}, sent {self.sent}, "
            f"finished {self.finished}; missing {self.missing}, unaccounted {self.unaccounted}, "
            f"lost {self.lost}, "
            f"doubled {self.doubled}; exit codes {self.codes}, {self.wall_s:.0f} s {' '.join(self.trouble)}"
        )


class FaultyRun:
    """One run and what is done to it."""

    def __init__(self, nodes: Nodes, kind: str, phase: str) -> None:
        self.found = Found(kind, phase)
        self._nodes = nodes
        self._text = ""
        self._process: subprocess.Popen[str] | None = None

    def carry_out(self) -> Found:
        """Run, break, go on where that is needed, and compare."""
        began_s = time.monotonic()
        self._folder = Path(tempfile.mkdtemp(prefix="faults-"))
        self._target = Target(self._folder)
        self._disk = Disk(self._folder / "disk")
        self._out = self._disk.path / "run"
        try:
            self._start(str(self._experiment()), "--out", str(self._out))
            self._wait_for_phase()
            for kind in self.found.kind.split("+"):
                self._break(kind)
            self._end()
            self._disk.clear()
            self._go_on()
            self._compare()
        except TimeoutError as fault:
            self.found.trouble.append(f"TIMEOUT: {fault}")
        finally:
            if self._process is not None and self._process.poll() is None:
                self._process.kill()
                self._process.communicate()
            self._target.kill()
            self._disk.close()
            shutil.rmtree(self._folder, ignore_errors=True)
            self._nodes.fill()
            self.found.wall_s = time.monotonic() - began_s
        return self.found

    def _experiment(self) -> Path:
        data = json.loads(json.dumps(EXPERIMENT))
        data["target"]["urls"] = [self._target.url]
        path = self._folder / "experiment.yaml"
        path.write_text(json.dumps(data))
        return path

    def _start(self, *arguments: str) -> None:
        environment = {**os.environ, "RAY_ADDRESS": self._nodes.address, "PYTHONPATH": str(ROOT)}
        self._process = subprocess.Popen(
            [sys.executable, "-c", "from swarm.cli import main; main()", "run", *arguments],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def _wait_for_phase(self) -> None:
        process = self._process
        assert process is not None
        if self.found.phase == "start":
            _until(
                lambda: process.poll() is not None or self._nodes.actors("RemoteHost", process.pid),
                "no host was started",
            )
            return
        # What tries the target comes before the run, and the run's first request half a second after this.
        run = self._out / "run.yaml"
        _until(lambda: process.poll() is not None or run.exists(), "the run does not begin")
        tried = len(self._target.serials("got"))
        _until(
            lambda: process.poll() is not None or self._target.begun_s(after=tried) is not None,
            "the server got no request",
        )
        begun_s = self._target.begun_s(after=tried)
        if begun_s is None:
            return
        if self.found.phase == "results":
            _until(lambda: time.time() > begun_s + DURATION_S and self._is_quiet(), "the load does not end")
            return
        after_s = {"warm-up": 2.0, "measuring": 6.5, "drain": DURATION_S + 0.05}[self.found.phase]
        time.sleep(max(0.0, begun_s + after_s - time.time()))

    def _is_quiet(self) -> bool:
        answered = self._target.serials("ok") | self._target.serials("bad")
        return self._target.serials("got") <= answered

    def _break(self, kind: str) -> None:
        process = self._process
        assert process is not None
        if kind == "host":
            for pid in self._nodes.actors("RemoteHost", process.pid)[:1]:
                _kill(pid)
        elif kind == "node":
            self._nodes.kill_one_with_hosts(process.pid)
        elif kind == "coordinator":
            for pid in self._nodes.actors("RemoteCoordinator", process.pid):
                _kill(pid)
        elif kind == "driver":
            process.kill()
        elif kind == "target":
            self._target.restart()
        elif kind == "provider":
            self._target.fail()
        elif kind == "disk":
            self._disk.fill()
        elif kind == "inodes":
            self._disk.take_inodes()

    def _end(self) -> None:
        process = self._process
        assert process is not None
        try:
            text, _ = process.communicate(timeout=WAIT_S_MAX)
        except subprocess.TimeoutExpired:
            process.kill()
            text, _ = process.communicate()
            self.found.trouble.append("HUNG")
        self._text += text
        self.found.codes.append(process.returncode)
        if "Traceback" in text or "*** SIG" in text:
            at = max(text.find("Traceback"), text.find("*** SIG"))
            self.found.trouble.append(f"TRACE: {text[at : at + 3000]}")

    def _go_on(self) -> None:
        """Finish a run that the fault has ended, once its cause is mended."""
        if (self._out / "summary.json").exists() or not (self._out / "run.yaml").exists():
            return
        process = self._process
        assert process is not None
        _until(lambda: not self._nodes.actors("RemoteHost", process.pid), "hosts outlive their driver")
        self._start("--resume", str(self._out))
        self._end()

    def _compare(self) -> None:
        found, target = self.found, self._target
        got = target.serials("got")
        found.served = len(got)
        if not (self._out / "run.yaml").exists():
            found.tried = len(got)
            found.served = 0
            if found.phase != "start" or found.tried > TRIALS_MAX:
                found.trouble.append(f"NEVER BEGAN: {self._text[-600:]}")
            return
        if not (self._out / "summary.json").exists():
            found.missing = len(got)
            found.trouble.append(f"NO RESULTS: {self._text[-600:]}")
            return
        from pyarrow import parquet

        summary = json.loads((self._out / "summary.json").read_text())
        found.told = [*summary["notes"], *summary["invalid_reasons"]]
        trials = [re.match(r"before the run (\d+) requests?", note) for note in found.told]
        found.tried = sum(int(each[1]) for each in trials if each is not None)
        found.served -= found.tried
        requests = summary["requests"]
        found.sent, found.unaccounted = requests["sent"], requests["unaccounted"]
        with (self._out / "requests.parquet").open("rb") as file:
            rows = parquet.read_table(file).to_pylist()
        finished = [row for row in rows if row["outcome"] == "ok"]
        serials = Counter(row["prompt_tokens"] for row in finished)
        turns = Counter((row["agent"], row["turn"]) for row in rows if row["outcome"] != "interrupted")
        found.finished = len(serials)
        found.doubled = sum(count - 1 for each in (serials, turns) for count in each.values())
        # A request without a finish is known by its row alone: its reply, if it had one, has no number there.
        others = sum(row["attempts"] - (row["error_class"] == "refused") for row in rows) - len(finished)
        found.missing = max(0, len(got - set(serials)) - found.tried - others)
        if strange := set(serials) - target.serials("ok"):
            found.trouble.append(f"NEVER SERVED: {sorted(strange)[:3]}")
        if found.sent != len(rows) + found.unaccounted:
            found.trouble.append("COUNTS DIFFER")
        if found.missing and not found.told:
            found.trouble.append("SILENT")


def table(found: list[Found]) -> str:
    """Return what was found by kind and phase, as Markdown."""
    lines = ["| fault | " + " | ".join(PHASES) + " |", "| --- |" + " --- |" * len(PHASES)]
    for kind in dict.fromkeys(each.kind for each in found):
        cells = []
        for phase in PHASES:
            of = [each for each in found if (each.kind, each.phase) == (kind, phase)]
            sums = [sum(getattr(each, name) for each in of) for name in ("served", "missing", "unaccounted")]
            wrong = sum(each.lost + each.doubled + bool(each.trouble) for each in of)
            shown = f"{sums[0]:,}: {sums[1]} of {sums[2]}" + (f" **{wrong} wrong**" if wrong else "")
            cells.append(shown if of else "")
        lines.append(f"| {kind.replace('+', ' and ')} | " + " | ".join(cells) + " |")
    served, lost, doubled = (sum(getattr(each, n) for each in found) for n in ("served", "lost", "doubled"))
    lines.append("")
    lines.append(
        f"{len(found)} runs, {served:,} requests served: {lost} lost, {doubled} counted twice. In a cell: "
        "requests served: those without a row, of those stated as unaccounted."
    )
    return "\n".join(lines)


def carried_out(runs: list[tuple[str, str]], nodes_count: int, at_once: int) -> Iterator[Found]:
    """Carry out runs on a cluster, some at once; yield each as it ends."""
    if not runs:
        return
    nodes = Nodes(nodes_count)
    try:
        if at_once == 1:
            # In this thread: Ray starts a node in no other.
            yield from (FaultyRun(nodes, *run).carry_out() for run in runs)
            return
        with ThreadPoolExecutor(at_once) as pool:
            waiting = [pool.submit(FaultyRun(nodes, *run).carry_out) for run in runs]
            for done in as_completed(waiting):
                yield done.result()
    finally:
        nodes.close()


def main() -> int:
    """Carry out the runs; return 1 where one of them lost something."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kinds", default=",".join((*KINDS, *PAIRS)))
    parser.add_argument("--phases", default=",".join(PHASES))
    parser.add_argument("--repeat", type=int, default=1)
    parser.add_argument(
        "--at-once", type=int, default=1, help="Runs at once, but for those that lose a node."
    )
    parser.add_argument("--json", type=Path, help="Write what each run came to here.")
    parser.add_argument("--serve", nargs=2, metavar=("PORT", "LOG"), help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.serve:
        asyncio.run(serve_counting(int(asked.serve[0]), Path(asked.serve[1])))
        return 0
    kinds = asked.kinds.split(",") * asked.repeat
    runs = [(kind, phase) for kind in kinds for phase in asked.phases.split(",")]
    found: list[Found] = []
    # The loss of a node would be felt by other runs on it.
    alone = [run for run in runs if "node" in run[0]]
    for some, nodes_count, at_once in ((runs, 1, asked.at_once), (alone, 3, 1)):
        these = [run for run in some if nodes_count > 1 or run not in alone]
        for each in carried_out(these, nodes_count, at_once):
            found.append(each)
            print(each.line(), file=sys.stderr, flush=True)
            if asked.json is not None:
                asked.json.write_text(json.dumps([vars(each) for each in found], indent=1))
    found.sort(key=lambda each: runs.index((each.kind, each.phase)))
    print(table(found))
    return int(any(each.lost or each.doubled or each.trouble for each in found))


if __name__ == "__main__":
    sys.exit(main())
