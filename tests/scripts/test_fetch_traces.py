"""The public traces are found by their sums in a folder, a git repository and an archive."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "fetch_traces.py"
FILES = {
    "traces/one.json": b"one",
    "deep/er/two.json": b"two",
    "conversation.jsonl": b"talk",
    "other.txt": b"x",
}
WANTED = {"set/a.json": b"one", "set/b.json": b"two", "talk.jsonl": b"talk"}


def git(folder: Path, *arguments: str) -> None:
    identity = ["-c", "user.name=t", "-c", "user.email=t@t"]
    subprocess.run(["git", "-C", str(folder), *identity, *arguments], check=True, capture_output=True)


def as_folder(folder: Path) -> str:
    return str(folder)


def as_repository(folder: Path) -> str:
    git(folder, "init", "--quiet")
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--message", "traces")
    return f"file://{folder}"


def as_bare_repository(folder: Path) -> str:
    bare = folder.with_name("bare.git")
    subprocess.run(["git", "clone", "--quiet", "--bare", as_repository(folder), str(bare)], check=True)
    return str(bare)


def as_archive(folder: Path) -> str:
    path = folder.with_name("traces.tar.gz")
    with tarfile.open(path, "w:gz") as archive:
        archive.add(folder, "traces-main")
    return f"file://{path}"


def as_zip(folder: Path) -> str:
    import shutil

    return shutil.make_archive(str(folder.with_name("traces")), "zip", folder)


def filled(folder: Path, files: dict[str, bytes]) -> Path:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


def fetch(source: str, dest: Path) -> subprocess.CompletedProcess[str]:
    sums = dest.with_name("sums")
    sums.write_text("".join(f"{hashlib.sha256(data).hexdigest()}  {name}\n" for name, data in WANTED.items()))
    command = [sys.executable, str(SCRIPT), source, str(dest), "--sums", str(sums)]
    return subprocess.run(command, capture_output=True, text=True)


@pytest.mark.parametrize("given", [as_folder, as_repository, as_bare_repository, as_archive, as_zip])
def test_traces_are_found_by_their_sums(tmp_path: Path, given: Callable[[Path], str]) -> None:
    done = fetch(given(filled(tmp_path / "source", FILES)), tmp_path / "dest")
    assert done.returncode == 0, done.stderr
    found = {
        p.relative_to(tmp_path / "dest").as_posix(): p.read_bytes()
        for p in (tmp_path / "dest").rglob("*.json*")
    }
    assert found == WANTED


def test_a_changed_file_is_not_taken_and_named(tmp_path: Path) -> None:
    done = fetch(
        as_folder(filled(tmp_path / "source", {**FILES, "traces/one.json": b"0ne"})), tmp_path / "dest"
    )
    assert done.returncode == 1
    assert "set: 1 of 2 files" in done.stdout
    assert "missing: set/a.json" in done.stdout


def test_a_source_without_traces_and_one_that_is_none_are_told(tmp_path: Path) -> None:
    empty = fetch(as_folder(filled(tmp_path / "source", {"a": b"b"})), tmp_path / "dest")
    assert (empty.returncode, "no file in it has a sum" in empty.stderr) == (1, True)
    nowhere = fetch(str(tmp_path / "nowhere"), tmp_path / "dest")
    assert (nowhere.returncode, "git cannot clone it" in nowhere.stderr) == (1, True)
