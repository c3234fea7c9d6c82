"""Places elsewhere: results sent there, traces fetched from there."""

import threading
from pathlib import Path

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from swarm import urls
from swarm.errors import UsageError
from swarm.urls import check_writable, fetched, is_url, upload, url_of


@pytest.mark.parametrize(
    ("place", "url"),
    [
        ("s3://bucket/runs/1", "s3://bucket/runs/1"),
        (Path("s3://bucket/runs/1"), "s3://bucket/runs/1"),
        (Path("file:///data/x"), "file:///data/x"),
        ("memory://a/b", "memory://a/b"),
    ],
)
def test_a_url_is_told_even_from_a_path(place: str | Path, url: str) -> None:
    assert is_url(place)
    assert url_of(place) == url


@pytest.mark.parametrize("place", ["results/x", "/results/x", Path("a:b"), "C:/x"])
def test_a_path_is_no_url(place: str | Path) -> None:
    assert not is_url(place)


def test_a_folder_arrives_whole_and_is_not_sent_over_another(tmp_path: Path) -> None:
    (tmp_path / "charts").mkdir()
    (tmp_path / "summary.json").write_text("{}")
    (tmp_path / "charts" / "a.png").write_bytes(b"png")
    check_writable("memory://runs/one")
    upload(tmp_path, "memory://runs/one")
    memory = fsspec.filesystem("memory")
    assert memory.cat("/runs/one/charts/a.png") == b"png"
    with pytest.raises(UsageError, match="something is there already"):
        check_writable("memory://runs/one")


def test_traces_are_fetched_by_url_as_file_or_folder(tmp_path: Path) -> None:
    memory = fsspec.filesystem("memory")
    memory.pipe("/traces/set/a.json", b"A")
    memory.pipe("/traces/set/b.json", b"B")
    folder = fetched(Path("memory://traces/set"))
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == {"a.json": b"A", "b.json": b"B"}
    assert fetched(Path("memory://traces/set/a.json")).read_bytes() == b"A"
    with pytest.raises(UsageError, match="nothing is there"):
        fetched(Path("memory://traces/none"))


def test_an_unknown_scheme_is_refused() -> None:
    with pytest.raises(UsageError, match="nosuch"):
        check_writable("nosuch://bucket/x")


@pytest.mark.parametrize("url", ["github://x", "reference://x", "generic://file:///x", "dir:///x"])
def test_a_url_that_its_library_cannot_take_is_refused_in_words(url: str) -> None:
    with pytest.raises(UsageError, match="Error"):
        check_writable(url)


class Odd(MemoryFileSystem):
    """A store whose library has errors of its own, or never answers."""

    protocol = "odd"
    never = threading.Event()

    def exists(self, path: str, **_: object) -> bool:
        if "silent" in path:
            self.never.wait()
        return False

    def put_file(self, *_: object, **__: object) -> None:
        raise LookupError("the bucket is gone\nand more")


@pytest.fixture
def odd(monkeypatch: pytest.MonkeyPatch) -> None:
    fsspec.register_implementation("odd", Odd, clobber=True)
    monkeypatch.setattr(urls, "ANSWER_S_MAX", 0.05)


@pytest.mark.usefixtures("odd")
def test_a_store_that_never_answers_is_refused_in_bounded_time() -> None:
    with pytest.raises(UsageError, match="TimeoutError: no answer"):
        check_writable("odd://silent/x")
    with pytest.raises(UsageError, match="TimeoutError: no answer"):
        fetched(Path("odd://silent/x"))


@pytest.mark.usefixtures("odd")
def test_what_a_store_refuses_is_said_in_a_line(tmp_path: Path) -> None:
    (tmp_path / "summary.json").touch()
    with pytest.raises(OSError, match=r"^summary\.json: LookupError: the bucket is gone$"):
        upload(tmp_path, "odd://runs/x")
