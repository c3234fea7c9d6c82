"""From recorded sessions to a profile, whole; and the profile's file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import yaml

from swarm.config.profile import ProfileFile
from swarm.errors import UsageError
from swarm.units import counted
from swarm.workload.profile.balance import balance_of
from swarm.workload.profile.calibrate import calibrated
from swarm.workload.profile.fit import fit_parts
from swarm.workload.profile.turns import observe
from swarm.workload.recorded import RecordedSession

_HEAD = (
    "# A workload's profile, fitted by `swarm fit`: statistics alone. docs/workloads.md explains its keys.\n"
)


def fit(sessions: Sequence[RecordedSession], *, name: str) -> ProfileFile:
    """Return the profile of recorded sessions."""
    sizes = {session.block_tokens for session in sessions}
    if len(sizes) > 1:
        raise UsageError(f"blocks of {sorted(sizes)} tokens: a profile needs sessions of one block size")
    observed = observe(sessions)
    stated = fit_parts(observed, name=name)
    turns = observed.turns
    tokens = float(turns.input[turns.agent == 0].sum()) / len(observed.starts_s)
    if not tokens:
        raise UsageError(
            f"{counted(len(sessions), 'session')} without any input tokens: there is nothing to learn from"
        )
    profile = calibrated(stated, tokens)
    balance = balance_of(turns, observed.block_tokens, len(observed.starts_s))
    return profile.model_copy(update={"balance": balance})


def dump(profile: ProfileFile) -> str:
    """Return the profile as YAML."""
    data = profile.model_dump(mode="json", exclude_none=True)
    return _HEAD + yaml.safe_dump(data, sort_keys=False, default_flow_style=None, width=110)


def write_profile(profile: ProfileFile, path: Path) -> None:
    """Write the profile's file, which is not there yet."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("x", encoding="utf-8") as file:
            file.write(dump(profile))
    except OSError as fault:
        raise UsageError(f"--out {path}: cannot be written: {fault.strerror}") from None
