"""Which files a folder stands for: all that are traces, and what is not one is named."""

from __future__ import annotations

import bz2
import gzip
import lzma
import os
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest
from typer.testing import CliRunner

from swarm.cli import app
from swarm.errors import TraceError, UsageError
from swarm.workload.formats import open_format, read_sessions, write_sessions
from swarm.workload.formats.files import sizes, trace_files

SESSION = (
    b'{"id": "a", "block_size": 16, "requests": [{"t": 0, "type": "s", "in": 16, "out": 1, "hash_ids": [1]}]}'
)
Others = list[Path]


def found(folder: Path) -> tuple[list[str], list[str]]:
    """Return what is read of a folder, and what is named as not read."""
    others: Others = []
    files = trace_files([folder], (".json", ".jsonl"), lambda _, more: others.extend(more))
    return [str(file.relative_to(folder)) for file in files], [
        str(file.relative_to(folder)) for file in others
    ]


def fill(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(SESSION)
    return folder


def test_names_in_capitals_are_names(tmp_path: Path) -> None:
    (tmp_path / "C.JSON.GZ").write_bytes(gzip.compress(SESSION))
    (tmp_path / "D.JSONL").write_bytes(SESSION + b"\n" + SESSION)
    fill(tmp_path, "A.JSON", "b.json")
    opened = open_format("weka")
    files = opened.files([tmp_path], lambda *_: None)
    assert [file.name for file in files] == ["A.JSON", "C.JSON.GZ", "D.JSONL", "b.json"]
    assert sum(len(list(opened.read(file, lambda error: pytest.fail(str(error))))) for file in files) == 5


def test_what_is_no_trace_is_named(tmp_path: Path) -> None:
    fill(tmp_path, "a.json", "sub/b.jsonl", "README.md", "sub/.hidden.json", "all.zip")
    assert found(tmp_path) == (["a.json", "sub/b.jsonl"], ["README.md", "all.zip", "sub/.hidden.json"])


def test_linked_folders_are_read_once_and_cycles_end(tmp_path: Path) -> None:
    traces = fill(tmp_path / "traces", "a.json", "sub/b.json")
    fill(tmp_path, "elsewhere/c.json", "beside.json")
    (traces / "link").symlink_to(tmp_path / "elsewhere")
    (traces / "twice").symlink_to(tmp_path / "elsewhere")
    (traces / "sub" / "back").symlink_to(traces)
    (traces / "self").symlink_to(traces / "self")
    (traces / "up").symlink_to(tmp_path)
    assert found(traces) == (["a.json", "sub/b.json", "link/c.json"], ["self", "up"])


def test_a_link_that_leads_nowhere_is_a_broken_file(tmp_path: Path) -> None:
    fill(tmp_path, "a.json")
    (tmp_path / "b.json").symlink_to(tmp_path / "gone.json")
    errors: list[TraceError] = []
    opened = open_format("weka")
    files = opened.files([tmp_path], lambda *_: None)
    read = [session.id for file in files for session in opened.read(file, errors.append)]
    assert (read, [error.path for error in errors]) == (["a"], [str(tmp_path / "b.json")])
    assert sizes(files) == [len(SESSION), 0]


PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "xz": lzma.compress,
    "bz2": bz2.compress,
    "zip": lambda content: b"PK\x03\x04" + content,
}


@pytest.mark.parametrize("ending", PACKERS)
@pytest.mark.parametrize(("format", "kind"), [("weka", "json"), ("weka", "jsonl"), ("multi_turn", "jsonl")])
def test_a_file_that_is_packed_otherwise_is_a_broken_file(
    tmp_path: Path, ending: str, format: str, kind: str
) -> None:
    (tmp_path / f"a.{kind}.{ending.upper()}").write_bytes(PACKERS[ending](SESSION))
    opened = open_format(format)
    errors: list[TraceError] = []
    for file in opened.files([tmp_path], lambda *_: None):
        assert list(opened.read(file, errors.append)) == []
    assert ["unpack it, or pack it with gzip" in error.reason for error in errors] == [True]


@pytest.mark.parametrize("kind", ["json", "jsonl"])
def test_a_file_that_is_packed_with_zstd_is_read(tmp_path: Path, kind: str) -> None:
    packed = pa.compress(SESSION, codec="zstd", asbytes=True)
    (tmp_path / f"a.{kind}.zst").write_bytes(packed)
    (tmp_path / f"b.{kind}.zst").write_bytes(packed[:-8])
    opened = open_format("weka")
    errors: list[TraceError] = []
    files = opened.files([tmp_path], lambda *_: None)
    assert [session.id for file in files for session in opened.read(file, errors.append)] == ["a"]
    assert [(Path(error.path).name, "cannot be read" in error.reason) for error in errors] in (
        [(f"b.{kind}.zst", True)],
        [(f"b.{kind}.zst", False)],
    )


@pytest.mark.parametrize("name", ["a.jsonl.zst", "a.JSON.XZ", "a.zip"])
def test_a_packed_file_that_is_not_written_is_refused(tmp_path: Path, name: str) -> None:
    arguments = [
        "convert",
        str(fill(tmp_path, "a.json")),
        str(tmp_path / name),
        "--from",
        "weka",
        "--to",
        "weka",
    ]
    error = CliRunner().invoke(app, arguments).exception
    assert isinstance(error, UsageError) and "are not written" in str(error)


@pytest.mark.parametrize("policy", ["fail", "skip"])
@pytest.mark.parametrize("command", ["analyze", "convert", "fit"])
def test_commands_name_what_they_do_not_read(tmp_path: Path, command: str, policy: str) -> None:
    traces = fill(tmp_path / "traces", "a.json", *(f"{k}.txt" for k in range(7)))
    (traces / "b.json.xz").write_bytes(lzma.compress(SESSION))
    options = {
        "analyze": [],
        "convert": [str(tmp_path / "new"), "--from", "weka", "--to", "weka"],
        "fit": ["--out", str(tmp_path / "p.yaml")],
    }
    result = CliRunner().invoke(app, [command, str(traces), *options[command], "--on-broken", policy])
    assert f"not read in {traces}: 0.txt, 1.txt, 2.txt, 3.txt, 4.txt and 2 more" in result.stderr
    assert "b.json.xz: file: is packed with xz" in f"{result.stderr}{result.exception}"


@pytest.mark.parametrize("target", ["weka", "mooncake", "multi_turn", "dag_jsonl"])
def test_names_of_files_need_not_be_text(tmp_path: Path, target: str) -> None:
    traces = tmp_path / "traces"
    for place, byte in enumerate((b"\xfe", b"\xff")):
        nameless = SESSION.replace(b'"id": "a", ', b"").replace(b"[1]", b"[%d]" % place)
        file = fill(traces, os.fsdecode(b"x%b.json" % byte))
        next(each for each in file.iterdir() if byte in os.fsencode(each)).write_bytes(nameless)
    dest = tmp_path / os.fsdecode(b"\xff.jsonl")
    write_sessions(read_sessions(traces, "weka"), dest, target)
    read = list(read_sessions(dest, f"{target}:block_tokens=16" if target == "mooncake" else target))
    assert [each.id for each in read] == [f"{traces}/x\\xfe.json", f"{traces}/x\\xff.json"]
    assert len({(each.namespace, *next(each.requests()).hash_ids) for each in read}) == 2


def test_a_row_without_an_id_is_named_after_its_file_in_text(tmp_path: Path) -> None:
    file = tmp_path / os.fsdecode(b"\xff.jsonl")
    file.write_text('{"timestamp": 0, "input_length": 16, "output_length": 1, "hash_ids": [1]}')
    assert [each.id for each in read_sessions(file, "mooncake:block_tokens=16")] == ["\\xff.jsonl:1"]


def test_names_of_files_stand_on_one_line(tmp_path: Path) -> None:
    folder = fill(tmp_path / "a", "b.json", "c\nswarm: lost: nothing.txt")
    result = CliRunner().invoke(app, ["analyze", str(folder)])
    assert result.stderr == f"swarm: not read in {folder}: c\\nswarm: lost: nothing.txt\n"
