"""All that a run's page shows of it, read and added up once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd
from pydantic import ValidationError

from swarm.config.slo import ObjectiveConfig
from swarm.errors import UsageError
from swarm.records.run_folder import RunFolder
from swarm.report.run.failing import failing_rows
from swarm.report.run.frames import FINISHED_LEAST, over_time_of
from swarm.report.run.interesting import interesting
from swarm.report.run.lengths import length_cells
from swarm.report.run.limits import waiting_rows
from swarm.report.run.memories import memory_rows
from swarm.report.run.missed import Missed, missed
from swarm.report.run.replicas import replica_rows
from swarm.report.run.requests import Requests
from swarm.report.run.session_rows import session_rows


@dataclass(frozen=True, slots=True)
class View:
    """A run's summary, its requests, and the frames of its charts."""

    summary: Mapping[str, Any]
    requests: Requests
    windows: pd.DataFrame
    sessions: pd.DataFrame
    """Requests of a few sessions."""
    memories: pd.DataFrame
    replicas: pd.DataFrame
    lengths: pd.DataFrame
    waiting: pd.DataFrame
    failing: pd.DataFrame
    missed: Missed | None


def view_of(folder: RunFolder) -> View:
    """Read a run folder for its page."""
    summary, requests, windows = folder.summary(), Requests.of(folder), folder.windows()
    measured = summary["measured"]
    # A search's levels differ in load: its requests of all levels together say nothing of the SLO.
    judged = None if summary.get("capacity") else missed(requests, _objectives(folder))
    chosen = interesting(requests, is_missed=summary["slo"]["met"] is False)
    return View(
        summary=summary,
        requests=requests,
        windows=over_time_of(windows, finished_least=FINISHED_LEAST),
        sessions=session_rows(requests, chosen),
        memories=memory_rows(folder.tiers()),
        replicas=replica_rows(windows),
        lengths=length_cells(requests),
        waiting=waiting_rows(requests, measured["to_s"]),
        failing=failing_rows(requests, measured["to_s"]),
        missed=judged,
    )


def _objectives(folder: RunFolder) -> list[ObjectiveConfig]:
    """Return the run's objectives; none where what is written down is of another version."""
    try:
        return [ObjectiveConfig(**each) for each in folder.run()["experiment"]["slo"]]
    except (OSError, KeyError, TypeError, UsageError, ValidationError):
        return []
