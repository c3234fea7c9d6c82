"""What a lost host left on its node: its process ended for certain, its journal fetched."""

from __future__ import annotations

import os
import signal
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

FETCH_S_MAX = 20.0
GONE_S_MAX = 5.0
JOURNAL_BYTES_MAX = 1 << 31


@dataclass(frozen=True, slots=True)
class Whereabouts:
    """Where a host's process runs and writes."""

    node: str
    pid: int
    journal: str
    """Path of its journal on that node."""


def journal_folder(asked: str, run_id: str) -> str:
    """Return where this node keeps journals: the run folder where it can be reached, else its own."""
    if Path(asked).is_dir():
        return asked
    return str(Path(tempfile.gettempdir()) / "swarm-journals" / run_id)


def fetch(place: Whereabouts, into: Path) -> str | None:
    """End a lost host's process and put its journal into a folder; return why not, where that fails."""
    try:
        alive = {node["NodeID"] for node in ray.nodes() if node["Alive"]}
    except ray.exceptions.RayError as fault:
        return f"Ray itself is lost: {type(fault).__name__}"
    if place.node not in alive:
        return "its node is gone"
    strategy = NodeAffinitySchedulingStrategy(place.node, soft=False)
    wanted = not (into / Path(place.journal).name).exists()
    try:
        data = ray.get(
            _end_and_read.options(scheduling_strategy=strategy).remote(place.pid, place.journal, wanted),
            timeout=FETCH_S_MAX,
        )
    except ray.exceptions.RayError as fault:
        return f"its node does not answer: {type(fault).__name__}"
    if wanted and data:
        (into / Path(place.journal).name).write_bytes(data)
    return None


@ray.remote(num_cpus=0, max_retries=0)
def _end_and_read(pid: int, journal: str, wanted: bool) -> bytes:
    """End the process, if it is still a host; return its journal."""
    if is_host(pid):
        os.kill(pid, signal.SIGKILL)
        until_s = time.monotonic() + GONE_S_MAX
        while is_host(pid) and time.monotonic() < until_s:
            time.sleep(0.02)
    if not wanted:
        return b""
    try:
        with Path(journal).open("rb") as file:
            return file.read(JOURNAL_BYTES_MAX)
    except OSError:
        return b""


def is_host(pid: int) -> bool:
    """Return whether a process is a host's: process ids are used again."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
        return b"RemoteHost" in Path(f"/proc/{pid}/cmdline").read_bytes() and ") Z " not in stat
    except OSError:
        return False
