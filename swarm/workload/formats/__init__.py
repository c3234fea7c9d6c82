"""Trace formats, one file each: bytes in, recorded sessions out, and back."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from swarm.errors import TraceError, UsageError
from swarm.workload.formats.block_traces import mooncake, weka
from swarm.workload.formats.conversations import dag, inputs_json, multi_turn, stretches
from swarm.workload.formats.files import OnBroken, OnOther, trace_files
from swarm.workload.formats.held import Telling
from swarm.workload.formats.options import Options, parse_format
from swarm.workload.formats.output import Losses, claim
from swarm.workload.recorded import RecordedSession


@dataclass(frozen=True, slots=True)
class Format:
    """How files of one format are found and read."""

    suffixes: tuple[str, ...]
    defaults: Options
    read: Callable[[Path, Options, OnBroken], Iterator[RecordedSession]]
    writes: Options | None
    write: Callable[[Iterable[RecordedSession], Path, Options, Losses], int] | None
    """None where the format is only read."""
    holds: frozenset[str]
    """Fields that it writes, or whose loss its writer tells itself; see `held`."""


FORMATS: dict[str, Format] = {
    "weka": Format(weka.SUFFIXES, weka.DEFAULTS, weka.read, weka.WRITES, weka.write, weka.HOLDS),
    "mooncake": Format(
        mooncake.SUFFIXES, mooncake.DEFAULTS, mooncake.read, mooncake.WRITES, mooncake.write, mooncake.HOLDS
    ),
    "multi_turn": Format(
        multi_turn.SUFFIXES,
        multi_turn.DEFAULTS,
        multi_turn.read,
        stretches.WRITES,
        multi_turn.write,
        stretches.HOLDS,
    ),
    "dag_jsonl": Format(dag.SUFFIXES, dag.DEFAULTS, dag.read, stretches.WRITES, dag.write, dag.HOLDS),
    "inputs_json": Format(
        inputs_json.SUFFIXES, inputs_json.DEFAULTS, inputs_json.read, None, None, frozenset()
    ),
}


@dataclass(frozen=True, slots=True)
class Opened:
    """A format with what was stated about the files: `weka`, or `mooncake:block_tokens=16,rows=delta`."""

    format: Format
    options: Options

    def files(self, paths: Iterable[Path], on_other: OnOther) -> list[Path]:
        """Return the trace files that the paths stand for, in the order of the sessions."""
        return trace_files(paths, self.format.suffixes, on_other)

    def read(self, file: Path, on_broken: OnBroken) -> Iterator[RecordedSession]:
        """Yield a file's sessions; broken parts go to `on_broken` with place and reason."""
        return self.format.read(file, self.options, on_broken)


def open_format(spec: str) -> Opened:
    """Return the format of a specification `name` or `name:key=value,...`."""
    name, options = parse_format(spec, {name: format.defaults for name, format in FORMATS.items()}, "read")
    return Opened(FORMATS[name], options)


def fail(error: TraceError) -> None:
    """End the reading at the first broken part."""
    raise error


def pass_over(folder: Path, others: list[Path]) -> None:
    """Leave what a folder holds beside traces."""


def read_sessions(path: Path, format: str, on_broken: OnBroken = fail) -> Iterator[RecordedSession]:
    """Yield the sessions of a file or folder, by file name; broken parts go to `on_broken`."""
    opened = open_format(format)
    for file in opened.files([path], pass_over):
        yield from opened.read(file, on_broken)


def write_sessions(sessions: Iterable[RecordedSession], dest: Path, format: str) -> tuple[int, Losses]:
    """Write sessions in a format; return how many, and what it could not hold."""
    name = format.partition(":")[0]
    writers = {name: entry for name, entry in FORMATS.items() if entry.write is not None}
    if name in FORMATS and name not in writers:
        raise UsageError(f"format {name!r} is read, not written; written are {', '.join(writers)}")
    defaults = {name: entry.writes for name, entry in writers.items() if entry.writes}
    _, options = parse_format(format, defaults, "written")
    claim(dest)
    losses = Losses()
    write = writers[name].write
    assert write is not None
    telling = Telling(writers[name].holds, losses)
    return write(map(telling.take, sessions), dest, options, losses), losses
