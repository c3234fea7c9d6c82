"""Fetch the public traces that tests read, and check every file's sum.

    python scripts/fetch_traces.py SOURCE DEST [--sums FILE]

SOURCE is a git repository (URL or path), a folder, or an archive (.tar.gz, .tgz, .tar, .zip; URL or path)
that holds the traces, wherever in it they lie and whatever they are called: files are known by their SHA-256
in `public_traces.sha256`, which also says what they are called in DEST. Files of other sums are left alone.

    python scripts/fetch_traces.py https://github.com/callanjfox/kv-cache-tester ../shared/data
    python scripts/fetch_traces.py https://github.com/kvcache-ai/Mooncake ../shared/data
    SWARM_TEST_DATA=DEST pytest        (without the variable tests look in ../shared/data)

Both sets are published under Apache-2.0. Exit 0 where DEST holds a whole set, 1 where files are missing.
"""

from __future__ import annotations

import argparse
import hashlib
import shutil
import subprocess
import sys
import tarfile
import tempfile
import urllib.request
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

SUMS = Path(__file__).with_name("public_traces.sha256")
ARCHIVES = (".tar.gz", ".tgz", ".tar", ".zip")
MISSING_SHOWN_MAX = 5


def read_sums(path: Path) -> dict[str, str]:
    """Return where each file belongs by its sum, from lines as `sha256sum` writes them."""
    lines = [line.split(maxsplit=1) for line in path.read_text().splitlines() if line.strip()]
    return {digest: name.strip() for digest, name in lines}


def sum_of(path: Path) -> str:
    """Return the SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def opened(source: str) -> Iterator[Path]:
    """Yield a folder with what the source holds."""
    with tempfile.TemporaryDirectory(prefix="swarm-traces-") as scratch:
        folder = Path(scratch)
        local = Path(source)
        if source.endswith(ARCHIVES):
            archive = local
            if "://" in source:
                archive = folder / source.rpartition("/")[2]
                with urllib.request.urlopen(source) as answer, archive.open("wb") as file:
                    shutil.copyfileobj(answer, file)
            unpack(archive, folder / "unpacked")
            yield folder / "unpacked"
        elif local.is_dir() and not (local / "objects").is_dir():
            yield local
        else:
            clone(source, folder / "clone")
            yield folder / "clone"


def unpack(archive: Path, folder: Path) -> None:
    """Unpack an archive; nothing lands outside the folder."""
    if archive.suffix == ".zip":
        with zipfile.ZipFile(archive) as file:
            file.extractall(folder)
    else:
        with tarfile.open(archive) as file:
            file.extractall(folder, filter="data")


def clone(source: str, folder: Path) -> None:
    """Clone the newest commit of a git repository."""
    command = ["git", "clone", "--quiet", "--depth", "1", "--", source, str(folder)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        sys.exit(
            f"{source}: neither a folder nor an archive, and git cannot clone it:\n{done.stderr.strip()}"
        )


def fetch(folder: Path, dest: Path, sums: dict[str, str]) -> int:
    """Copy the files whose sums are known; return how many."""
    copied = 0
    for path in sorted(folder.rglob("*")):
        if not path.is_file() or path.is_symlink() or ".git" in path.parts:
            continue
        name = sums.get(sum_of(path))
        if name is None:
            continue
        (dest / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, dest / name)
        copied += 1
    return copied


def whole(dest: Path, sums: dict[str, str]) -> dict[str, list[str]]:
    """Return for each set, a folder's or a file's first name, what DEST lacks or has with another sum."""
    missing: dict[str, list[str]] = {}
    for digest, name in sums.items():
        lacking = missing.setdefault(name.partition("/")[0], [])
        if not (dest / name).is_file() or sum_of(dest / name) != digest:
            lacking.append(name)
    return missing


def main() -> int:
    """Fetch, and say what is there."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("source", help="a git repository, folder or archive, by URL or path")
    parser.add_argument("dest", type=Path, help="the folder that tests look in")
    parser.add_argument("--sums", type=Path, default=SUMS, help="lines of sha256sum: what to fetch")
    asked = parser.parse_args()
    sums = read_sums(asked.sums)
    with opened(asked.source) as folder:
        copied = fetch(folder, asked.dest, sums)
    missing = whole(asked.dest, sums)
    for name, lacking in missing.items():
        count = count_of(name, sums)
        print(f"{asked.dest / name}: {count - len(lacking)} of {count} files, sums checked")
        if 0 < len(lacking) < count:
            shown = ", ".join(lacking[:MISSING_SHOWN_MAX])
            print(f"  missing: {shown}{', ...' if len(lacking) > MISSING_SHOWN_MAX else ''}")
    if not copied:
        print(f"{asked.source}: no file in it has a sum of {asked.sums}", file=sys.stderr)
    is_partial = any(lacking and len(lacking) < count_of(name, sums) for name, lacking in missing.items())
    return 0 if copied and not is_partial else 1


def count_of(name: str, sums: dict[str, str]) -> int:
    """Return how many files a set has."""
    return sum(each.partition("/")[0] == name for each in sums.values())


if __name__ == "__main__":
    sys.exit(main())
