"""Fixtures that many rooms use."""

from pathlib import Path

import pytest

SHARED_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Real traces and their measured truth, beside the repository; tests that need them skip without."""
    if not SHARED_DATA.is_dir():
        pytest.skip(f"{SHARED_DATA} is absent: recorded traces and their truth are not part of the project")
    return SHARED_DATA
