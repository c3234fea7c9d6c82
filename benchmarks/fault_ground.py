"""What a run stands on that a fault is done to: a server that counts, a small disk, Ray's nodes.

python benchmarks/fault_ground.py PORT LOG    the counting server, which `faults.py` starts as a process
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

SERIAL_FROM = 2000
"""The first number, so that every one is a likely count of prompt tokens."""
AWAY_S = 0.8
"""How long a server is away, or answers nothing but errors."""
WAIT_S_MAX = 600.0
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
        self._process = subprocess.Popen([sys.executable, __file__, str(self._port), str(self.log)])
        until(self._answers, "the counting server does not answer")

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
        self.take_writes()
        (self.path / "filler").unlink(missing_ok=True)
        shutil.rmtree(self.path / "inodes", ignore_errors=True)

    def close(self) -> None:
        if self.is_mounted:
            subprocess.run(["umount", "-l", self.path], check=False)

    def refuse_writes(self) -> None:
        """Be mounted anew for reading alone, as soon as nobody has a file open for writing."""
        command = ["mount", "-o", "remount,ro", str(self.path)]
        until(
            lambda: not subprocess.run(command, capture_output=True, check=False).returncode,
            "files stay open for writing",
        )

    def take_writes(self) -> None:
        subprocess.run(["mount", "-o", "remount,rw", self.path], check=False)


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
            kill(pid)
        for path in journals:
            path.unlink(missing_ok=True)

    def close(self) -> None:
        self._cluster.shutdown()
        shutil.rmtree(self._folder, ignore_errors=True)


class OwnRay:
    """The Ray that a run starts for itself, on this machine."""

    address = "local"

    def __init__(self) -> None:
        os.environ.update(RAY)

    def part(self, driver: int, name: str) -> int | None:
        """Return the process of a run's Ray by its program: gcs_server, raylet."""
        found = (pid for pid, line in processes_below(driver) if f"/{name}" in line.partition(" ")[0])
        return next(found, None)

    def actors(self, name: str, driver: int) -> list[int]:
        """Return the pids of a driver's actors by their class."""
        raylet = self.part(driver, "raylet")
        below = [] if raylet is None else processes_below(raylet)
        return [pid for pid, line in below if line.startswith(f"ray::{name}")]

    def lose(self, driver: int, name: str) -> None:
        pid = self.part(driver, name)
        if pid is not None:
            kill(pid)

    def fill(self) -> None:
        """Every run has a Ray of its own."""

    def close(self) -> None:
        """It ends with its run."""


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


def kill(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def until(holds: Callable[[], object], otherwise: str) -> None:
    until_s = time.monotonic() + WAIT_S_MAX
    while not holds():
        if time.monotonic() > until_s:
            raise TimeoutError(otherwise)
        time.sleep(0.02)


if __name__ == "__main__":
    asyncio.run(serve_counting(int(sys.argv[1]), Path(sys.argv[2])))
