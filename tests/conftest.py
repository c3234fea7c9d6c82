"""Fixtures that many rooms use."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

VARIABLE = "SWARM_TEST_DATA"
BESIDE = Path(__file__).resolve().parents[2] / "shared" / "data"
FETCH = "python scripts/fetch_traces.py SOURCE DEST"
DRAWN_TIMEOUT_S = 900
"""Of a test of drawn examples: how many it looks at is stated, how long that takes is the machine's."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give tests of drawn examples more time than others.

    A time limit that ends one while it draws is no failure that Hypothesis can repeat: it says "Inconsistent
    data generation ... the second run drew more data than the first run".
    """
    for item in items:
        is_drawn = getattr(getattr(item, "obj", None), "is_hypothesis_test", False)
        if is_drawn and item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(DRAWN_TIMEOUT_S))


class SharedData:
    """The folder of recorded traces and their measured truth; a test skips where what it reads is absent."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __truediv__(self, name: str) -> Path:
        path = self.folder / name
        if not path.exists():
            pytest.skip(f"{path} is absent: public traces come by `{FETCH}`, {VARIABLE} says where they are")
        return path


@pytest.fixture(autouse=True)
def _signals() -> Iterator[None]:
    """Let a command that ends within the tests' process not keep signals from the tests after it."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    yield
    signal.pthread_sigmask(signal.SIG_SETMASK, before)


@pytest.fixture(scope="session")
def shared_data() -> SharedData:
    """What lies in the folder that SWARM_TEST_DATA names, else in ../shared/data."""
    return SharedData(Path(os.environ.get(VARIABLE) or BESIDE))
