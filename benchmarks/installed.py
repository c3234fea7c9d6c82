"""Peers' commands: where each is, and what installs it in an environment of its own."""

from __future__ import annotations

import shutil
from pathlib import Path


def find(name: str, venvs: Path | None) -> str | None:
    """Return a peer's command: FOLDER/NAME/bin/NAME, or on the PATH; None where it is not installed."""
    if venvs is not None and (venvs / name / "bin" / name).exists():
        return str(venvs / name / "bin" / name)
    return shutil.which(name)


def how_to_install(missing: list[str]) -> str:
    """Say which peers are missing, and how each gets an environment of its own."""
    are = "is" if len(missing) == 1 else "are"
    return (
        f"{', '.join(missing)} {are} not installed; for each: python -m venv FOLDER/NAME && "
        "FOLDER/NAME/bin/pip install NAME, then give --venvs FOLDER"
    )
