"""The requests of a few sessions as a frame for the timeline: no more of them than a screen can show."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from swarm.report.run.interesting import Chosen
from swarm.report.run.requests import Requests
from swarm.report.theme import PLOT_PX

BARS_MAX = 700
"""Requests drawn of one session; of a longer one, the first."""
LANES_MAX = 20
"""Agents of one session that have a lane: the orchestrator, and the first to start."""
BAR_PX = (2.0, 14.0)
"""Thinnest and thickest bar of a request."""
LABEL_CHARS = 14
_COLUMNS = [
    *("session", "agent", "parent", "turn", "kind", "opened_by", "outcome", "error_class"),
    *("intended_s", "sent_s", "first_token_s", "completed_s"),
    *("prompt_tokens", "cached_tokens", "output_tokens", "admission_wait_s", "retry_wait_s"),
]
TIMES = ("intended_s", "sent_s", "first_token_s", "completed_s")


def session_rows(requests: Requests, chosen: Sequence[Chosen]) -> pd.DataFrame:
    """Return the requests of the chosen sessions, session by session, in the order of their times.

    `label` names a session for a reader, `lane` an agent in it and `lane_at` the lane's place;
    `new_tokens` is what the cache did not hold (null where the target does not say), `is_user` marks turns
    that a person's message opened, `is_ok` those that finished.
    """
    places, names = requests.codes("session")
    ranks = {each.session: rank for rank, each in enumerate(chosen)}
    wanted = np.zeros(len(names), dtype=np.bool_)
    wanted[[names.index(name) for name in ranks]] = True
    keep = wanted[places] if len(places) else np.zeros(0, dtype=np.bool_)
    table = requests.table.select(_COLUMNS).filter(pa.array(keep))
    frame: pd.DataFrame = table.to_pandas()
    for name in ("session", "agent", "parent", "kind", "opened_by", "outcome", "error_class"):
        frame[name] = frame[name].astype(object)
    if frame.empty:
        return frame
    frame["rank"] = frame["session"].map(ranks)
    frame = frame.sort_values(["rank", "intended_s", "agent", "turn"])
    frame["label"] = frame["session"].map(_labels(frame, chosen))
    frame = frame.groupby("session", sort=False).head(BARS_MAX)
    frame["is_ok"] = frame["outcome"] == "ok"
    frame["is_subagent"] = frame["parent"].notna()
    frame["is_user"] = ~frame["is_subagent"] & frame["opened_by"].isin(["human", "start"])
    frame["new_tokens"] = frame["prompt_tokens"] - frame["cached_tokens"]
    frame["bar_px"] = frame.groupby("session")["intended_s"].transform(_bar_px)
    lanes = frame.groupby("session", sort=False, group_keys=False)["agent"].apply(_lane_places)
    frame["lane_at"] = lanes.reindex(frame.index)
    frame["lane"] = [_lane(*pair) for pair in zip(frame["session"], frame["agent"], strict=True)]
    frame.loc[frame["lane_at"] >= LANES_MAX, "lane_at"] = np.nan
    for name in TIMES:
        frame[name] = frame[name].round(3)
    return frame.reset_index(drop=True)


def _labels(frame: pd.DataFrame, chosen: Sequence[Chosen]) -> dict[str, str]:
    sizes = frame["session"].value_counts()
    more = {name: f", the first {BARS_MAX} drawn" for name, size in sizes.items() if size > BARS_MAX}
    for name, agents in frame.groupby("session")["agent"].nunique().items():
        if agents > LANES_MAX:
            more[name] = f"{more.get(name, '')}, {LANES_MAX} of {agents} agents drawn"
    return {each.session: f"{each.label}{more.get(each.session, '')}" for each in chosen}


def _lane_places(agents: pd.Series[Any]) -> pd.Series[Any]:
    """Return each request's lane: agents by their first request, parents' before their children's."""
    first = {agent: at for at, agent in reversed(list(enumerate(agents)))}
    order = sorted(first, key=lambda agent: [first.get("/".join(part), 0) for part in _ancestry(agent)])
    places = {agent: place for place, agent in enumerate(order)}
    return agents.map(places).astype(float)


def _ancestry(agent: str) -> list[list[str]]:
    """Return the paths of an agent's line from its session's root on."""
    parts = agent.split("/")
    return [parts[: at + 1] for at in range(len(parts))]


def _lane(session: str, agent: str) -> str:
    """Return an agent's name beside its lane: its path below the orchestrator."""
    name = agent.removeprefix(session).strip("/") or "orchestrator"
    return name if len(name) <= LABEL_CHARS else f"…{name[-LABEL_CHARS + 1 :]}"


def _bar_px(at_s: pd.Series[float]) -> float:
    """Return a bar's width with which most bars of a session stay apart."""
    span_s = at_s.max() - at_s.min()
    if span_s <= 0:
        return BAR_PX[1]
    gap_px = float(at_s.sort_values().diff().quantile(0.3)) / span_s * PLOT_PX
    return min(max(0.8 * gap_px, BAR_PX[0]), BAR_PX[1])
