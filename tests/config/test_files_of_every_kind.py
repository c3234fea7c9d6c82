"""Hostile files of every kind that a command reads as YAML: refused in words, whatever they hold."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from swarm.config.read import read_experiment, read_fleet, read_points, read_prices, read_profile
from swarm.config.yaml_text import WRITTEN_MAX
from swarm.errors import ConfigError
from swarm.fleet.catalog.read import find_gpu, find_model

READERS: dict[str, Callable[[Path], Any]] = {
    "experiment": lambda path: read_experiment(path, []),
    "sweep": lambda path: read_points(path, []),
    "fleet": lambda path: read_fleet(path, []),
    "profile": read_profile,
    "prices": read_prices,
    "model": lambda path: find_model(str(path)),
    "gpu": lambda path: find_gpu(str(path)),
}
ALIASES = (
    "b0: &b0 [" + "x," * 10 + "]\n" + "".join(f"b{i}: &b{i} [{f'*b{i - 1},' * 10}]\n" for i in range(1, 9))
)
FILES: dict[str, tuple[bytes, str]] = {
    "nothing": (b"", "a mapping of keys is expected"),
    "zeros": (bytes(100), "control characters"),
    "another encoding": ("name: a\n".encode("utf-16"), "is not YAML: 'utf-8'"),
    "a tab": (b"a:\n\tb: 1\n", "line 2, column 1"),
    "lists in lists": (b"a: " + b"[" * 10_000, "nesting depth"),
    "maps in maps": (b"a: " + b"{a: " * 10_000, "nesting depth"),
    "aliases of aliases": (ALIASES.encode(), "with what aliases repeat"),
    "an alias of itself": (b"a: &a [*a]\n", "with what aliases repeat"),
    "a long number": (b"seed: " + b"9" * 100_000, "limit .4300 digits."),
    "a long number of another base": (b"seed: 0x" + b"f" * 100_000, "seed: found one of 400,000 bits"),
    "a long number in sixties": (b"seed: 1" + b":59" * 2_000, "seed: found one of 1.,... bits"),
    "a wide number": (b"seed: 18446744073709551616\n", "seed: found 18446744073709551616: whole numbers"),
    "many unknown keys": (b"".join(b"k%d: 1\n" % key for key in range(99)), r"\n  and [\d,]+ more$"),
    "binary data": (b"name: !!binary AAAA\n", "name: found binary data"),
    "code": (b"name: !!python/object/apply:os.system [ls]\n", "could not determine a constructor"),
    "two documents": (b"a: 1\n---\nb: 1\n", "expected a single document"),
    "a key twice": (b"name: a\nname: b\n", "line 2: the key 'name' stands twice, first in line 1"),
}  # fmt: skip


@pytest.mark.parametrize("what", FILES)
@pytest.mark.parametrize("kind", READERS)
def test_a_hostile_file_is_refused_in_few_words(tmp_path: Path, kind: str, what: str) -> None:
    content, words = FILES[what]
    (tmp_path / "a.yaml").write_bytes(content)
    with pytest.raises(ConfigError, match=words) as refused:
        READERS[kind](tmp_path / "a.yaml")
    assert len(str(refused.value)) < 6_000


def test_a_text_of_too_many_values_is_not_read_to_its_end(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(f"name: [{'1,' * 3 * WRITTEN_MAX}]")
    with pytest.raises(ConfigError, match="more than 60,000 keys and values"):
        read_profile(tmp_path / "a.yaml")


def test_a_key_of_a_megabyte_is_not_repeated(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(f"? {'k' * 1_000_000}\n: 1\n")
    with pytest.raises(ConfigError, match="kkk…") as refused:
        read_experiment(tmp_path / "a.yaml", [])
    assert len(str(refused.value)) < 2_000


def no_file(folder: Path) -> Path:
    return folder / "none.yaml"


def a_folder(folder: Path) -> Path:
    return folder


def a_circle_of_links(folder: Path) -> Path:
    path = folder / "link.yaml"
    path.symlink_to(path)
    return path


def a_pipe(folder: Path) -> Path:
    path = folder / "pipe.yaml"
    os.mkfifo(path)
    return path


def below_a_file(folder: Path) -> Path:
    (folder / "file").touch()
    return folder / "file" / "a.yaml"


@pytest.mark.parametrize(
    ("made", "words"),
    [
        (no_file, "No such file"),
        (a_folder, "Is a directory"),
        (a_circle_of_links, "symbolic links"),
        (a_pipe, "is a pipe, which can be read once"),
        (below_a_file, "Not a directory"),
        (lambda _: Path("/dev/zero"), "more than .* bytes"),
        (lambda _: Path("/dev/null"), "a mapping of keys is expected"),
    ],
)
def test_what_is_no_plain_file_is_refused(tmp_path: Path, made: Callable[[Path], Path], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        read_experiment(made(tmp_path), [])
