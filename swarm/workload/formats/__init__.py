"""Trace formats, one file each: bytes in, recorded sessions out, and back.

`auto` is every format at once: what a file holds decides which reads it.
Knows: files, their fields, what each format can hold. Does not know: caches, clocks, how sessions are played.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from swarm.errors import TraceError, UsageError
from swarm.workload.formats.agent_logs.logged import Tally
from swarm.workload.formats.agent_logs.readers import READERS, LogReader
from swarm.workload.formats.block_traces import mooncake, weka
from swarm.workload.formats.conversations import dag, inputs_json, multi_turn, stretches
from swarm.workload.formats.files import (
    OnBroken,
    OnOther,
    head_bytes,
    is_packed_otherwise,
    shown_name,
    trace_files,
)
from swarm.workload.formats.foreign import why_not_read
from swarm.workload.formats.held import Telling
from swarm.workload.formats.options import Options, parse_format
from swarm.workload.formats.output import Losses, claim
from swarm.workload.formats.recognise import recognised
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


AUTO = "auto"
LOG_SUFFIXES = (".json", ".jsonl", ".ndjson", ".parquet", ".db")
NO_OPTIONS = Options(block_tokens=0, rows="", bytes_per_token=0.0, settings=())
UNSTATED = replace(NO_OPTIONS, settings=("block_tokens", "rows", "bytes_per_token"))
"""Of files of any format: what is stated is for those formats that do not say it themselves."""
META = ".meta.json"
"""Ending of files that say of which kind a sub-agent is; its log's reader looks at them."""
Unit = tuple[Path, ...]
"""Files that are read together: a session's, or one."""


@dataclass(frozen=True, slots=True)
class Opened:
    """A format and what was stated of the files: `auto`, `weka`, or `mooncake:block_tokens=16,rows=delta`.

    It belongs to one reading: agents' logs remember what earlier files held.
    """

    name: str
    options: Options
    tallies: dict[str, Tally] = field(default_factory=dict)
    """What agents' logs held, what of it is inferred, and what they lack, by format."""
    _readers: dict[str, LogReader] = field(default_factory=dict)
    _formats: dict[Path, str] = field(default_factory=dict)
    _traces: set[str] = field(default_factory=set)
    """Shown names of files that are no agents' logs."""

    def is_of_logs(self, path: str) -> bool:
        """Whether a broken part is of agents' own logs, by its file's shown name.

        A file of no known format, or that cannot be read, is one of them where there are logs beside it.
        """
        if self.name != AUTO:
            return self.name in READERS
        return path not in self._traces and any(name in READERS for name in self._formats.values())

    def files(self, paths: Iterable[Path], on_other: OnOther) -> list[Path]:
        """Return the trace files that the paths stand for, in the order of the sessions."""
        return trace_files(paths, self._suffixes(), on_other)

    def units(self, files: Iterable[Path], on_other: OnOther) -> list[Unit]:
        """Return the files in the groups that are read together; `auto` passes over what it does not know."""
        by_format: dict[str, list[Path]] = {}
        unknown: list[Path] = []
        for file in files:
            name = self.name if self.name != AUTO else recognised(file)
            if name is None:
                if not file.name.endswith(META):
                    unknown.append(file)
                continue
            self._formats[file] = name
            if name in FORMATS and not is_packed_otherwise(file):
                self._traces.add(shown_name(file))
            by_format.setdefault(name, []).append(file)
        if unknown and not by_format:
            raise UsageError(f"{unknown[0]}: {_unknown(unknown[0])}")
        # Paths from the root and others have no folder in common.
        for is_absolute in (False, True):
            alike = [file for file in unknown if file.is_absolute() == is_absolute]
            if alike:
                on_other(Path(os.path.commonpath([file.parent for file in alike])), alike)
        units: list[Unit] = []
        for name, found in by_format.items():
            units += self._reader(name).units(found) if name in READERS else [(file,) for file in found]
        return units

    def read(self, file: Path, on_broken: OnBroken) -> Iterator[RecordedSession]:
        """Yield a file's sessions; broken parts go to `on_broken` with place and reason."""
        yield from self.read_unit((file,), on_broken)

    def read_unit(self, unit: Unit, on_broken: OnBroken) -> Iterator[RecordedSession]:
        """Yield the sessions of files that are read together."""
        name = self._formats.get(unit[0], self.name)
        if name in READERS:
            yield from self._reader(name).read(unit, on_broken)
            return
        format = FORMATS[name]
        options = self.options if self.name != AUTO else self._stated_of(name)
        for file in unit:
            yield from format.read(file, options, on_broken)

    def _stated_of(self, name: str) -> Options:
        """Return the defaults of a format that was recognised, as changed by what was stated of all files."""
        stated = [
            f"{key}={getattr(self.options, key)}"
            for key in UNSTATED.settings
            if getattr(self.options, key) != getattr(UNSTATED, key)
        ]
        if not stated:
            return FORMATS[name].defaults
        return open_format(f"{name}:{','.join(stated)}").options

    def _reader(self, name: str) -> LogReader:
        if name not in self._readers:
            self._readers[name] = READERS[name](self.tallies.setdefault(name, Tally()))
        return self._readers[name]

    def _suffixes(self) -> tuple[str, ...]:
        if self.name == AUTO:
            return LOG_SUFFIXES
        return FORMATS[self.name].suffixes if self.name in FORMATS else LOG_SUFFIXES


def _unknown(file: Path) -> str:
    """Return why nobody reads a file."""
    if (why := why_not_read(file)) is not None:
        return f"is not read: {why}"
    if not head_bytes(file).strip():
        return "is empty, or cannot be read; give files with requests in them"
    names = ", ".join((*FORMATS, *READERS))
    return f"its content is of no format that is known; name one with --format: {names}"


def open_format(spec: str) -> Opened:
    """Return the format of a specification `name` or `name:key=value,...`."""
    defaults = {name: format.defaults for name, format in FORMATS.items()}
    defaults |= {**dict.fromkeys(READERS, NO_OPTIONS), AUTO: UNSTATED}
    return Opened(*parse_format(spec, defaults, "read"))


def fail(error: TraceError) -> None:
    """End the reading at the first broken part."""
    raise error


def pass_over(folder: Path, others: list[Path]) -> None:
    """Leave what a folder holds beside traces."""


def read_sessions(path: Path, format: str, on_broken: OnBroken = fail) -> Iterator[RecordedSession]:
    """Yield the sessions of a file or folder, by file name; broken parts go to `on_broken`.

    So do files of a folder whose content is of no format: none is left out unsaid.
    """
    return read_opened(open_format(format), path, on_broken)


def read_opened(opened: Opened, path: Path, on_broken: OnBroken) -> Iterator[RecordedSession]:
    """Yield the sessions as `read_sessions` does, of a format that was opened for it."""

    def tell(_: Path, unknown: list[Path]) -> None:
        for file in unknown:
            on_broken(TraceError(str(file), "its content", "is of no format that is known"))

    for unit in opened.units(opened.files([path], pass_over), tell):
        yield from opened.read_unit(unit, on_broken)


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
