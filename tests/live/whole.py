"""Commands carried out whole in this process: `swarm run` with hosts in threads in the place of Ray's."""

from __future__ import annotations

import io
import json
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import pyarrow.parquet as pq
import pytest
from processes import ProcessLauncher

from swarm import cli
from swarm.commands import run
from swarm.live.coordinator import Snapshot
from swarm.records.batch import Batch

OnBatch = Callable[[ProcessLauncher, Batch], None]


@dataclass(frozen=True)
class Ended:
    """A command that has ended."""

    code: int
    said: str
    folder: Path

    @property
    def summary(self) -> dict[str, Any]:
        """What `summary.json` holds."""
        found: dict[str, Any] = orjson.loads((self.folder / "summary.json").read_bytes())
        return found

    @property
    def rows(self) -> list[dict[str, Any]]:
        """The run's requests."""
        found: list[dict[str, Any]] = pq.read_table(self.folder / "requests.parquet").to_pylist()
        return found


def command(folder: Path, *words: str | Path) -> Ended:
    """Carry out a command in this process, whose signals are then what they were."""
    said = io.StringIO()
    out = redirect_stdout(io.StringIO())
    with pytest.MonkeyPatch.context() as patch, signals_kept(), redirect_stderr(said), out:
        patch.setattr(sys, "argv", ["swarm", *map(str, words)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
    return Ended(int(ended.value.code or 0), said.getvalue(), folder)


@contextmanager
def signals_kept() -> Iterator[None]:
    """Give signals back what was done with them: a command ends by ignoring them, as its process ends."""
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)


def lived(folder: Path, experiment: Path, on_batch: OnBatch = lambda launcher, batch: None) -> Ended:
    """Carry out `swarm run`, with hosts as threads of this process."""
    with without_ray(on_batch):
        return command(folder, "run", experiment, "--out", folder)


@contextmanager
def without_ray(on_batch: OnBatch = lambda launcher, batch: None) -> Iterator[None]:
    """Let live runs of this process start threads alone; `on_batch` sees each report as it comes."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run, "RayLauncher", lambda run_id: ProcessLauncher(on_batch, in_threads=True))
        patch.setattr(run, "ray_session", lambda name: nullcontext())
        patch.setattr(run, "Metrics", lambda experiment, run_id: Unshown())
        yield


class Unshown:
    """Nobody watches."""

    def show(self, snapshot: Snapshot) -> None:
        """Show nothing."""


def written(folder: Path, **parts: Any) -> Path:
    """Write an experiment beside a run folder that is yet to be."""
    path = folder.with_name(f"{folder.name}.json")
    path.write_text(json.dumps({"name": "t", "charts": [], **parts}))
    return path
