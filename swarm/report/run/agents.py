"""A run's agents, one row each, from the rows of their requests."""

from __future__ import annotations

import pandas as pd

SUMS = (
    "prompt_tokens",
    "cached_tokens",
    "output_tokens",
    "rewritten_tokens",
    "retry_wait_s",
    "admission_wait_s",
)
OUTCOMES = {"finished": "ok", "failed": "failed", "interrupted": "interrupted"}


def agents(requests: pd.DataFrame) -> pd.DataFrame:
    """Return a row for each agent by its path: session, parent, role, span, turns, outcomes, sums.

    `cached_tokens` is missing where the target reported it for none of the agent's requests.
    """
    frame = requests.assign(
        **{name: (requests["outcome"] == outcome).astype("int64") for name, outcome in OUTCOMES.items()}
    )
    groups = frame.groupby("agent", sort=True)
    found = groups.agg(
        session=("session", "first"),
        parent=("parent", "first"),
        role=("role", "first"),
        start_s=("intended_s", "min"),
        end_s=("completed_s", "max"),
        turns=("turn", "nunique"),
        **{name: (name, "sum") for name in OUTCOMES},
        attempts=("attempts", "sum"),
    )
    found.insert(2, "is_subagent", found["parent"].notna())
    for name in SUMS:
        found[name] = groups[name].sum(min_count=1)
    found.index.name = "path"
    return found
