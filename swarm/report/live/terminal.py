"""A terminal view of something that goes on: figures, sparklines, progress; plain lines elsewhere."""

from __future__ import annotations

import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import orjson
from rich.console import Console, Group, RenderableType
from rich.live import Live as Screen
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from swarm.errors import UsageError
from swarm.report.live.going import Going
from swarm.report.live.running import PLAIN_EVERY_S
from swarm.report.numbers import count, rate, seconds, share, three

State = Mapping[str, Any]
BARS = "▁▂▃▄▅▆▇█"
EVERY_S = 1.0
WIDTH = 80
SPARK = 24
ASK_S_MAX = 5.0


def watch_folder(going: Going) -> int:
    """Show a folder until what goes on in it has ended; return the exit code."""

    def state() -> State:
        going.read()
        return {**going.head(going.over_time()), "notes": going.notes[-3:]}

    return _watch(state)


def watch_url(url: str) -> int:
    """Show what a live page shows, until its end; return the exit code.

    Raises:
        UsageError: There is no such page.
    """
    parts = urlsplit(url)
    where = urlunsplit((parts.scheme, parts.netloc, "/state", parts.query, ""))
    if parts.scheme not in ("http", "https") or "token=" not in parts.query:
        raise UsageError(f"swarm watch {url}: the URL of a live page is expected, whole, with its token")

    def state() -> State:
        try:
            with urllib.request.urlopen(where, timeout=ASK_S_MAX) as answer:
                said = orjson.loads(answer.read())
        except urllib.error.HTTPError as fault:
            words = fault.read().decode(errors="replace")
            raise UsageError(f"swarm watch {parts.netloc}: {fault.code}: {words}") from None
        except (OSError, orjson.JSONDecodeError) as fault:
            raise UsageError(f"swarm watch {parts.netloc}: no live page answers there: {fault}") from None
        return {**said["head"], "notes": said["notes"][:3][::-1]}

    return _watch(state)


def _watch(state: Callable[[], State]) -> int:
    console = Console(stderr=True, highlight=False)
    try:
        if console.is_terminal:
            with Screen(console=console, auto_refresh=False) as screen:
                _until_end(state, lambda said: screen.update(view(said), refresh=True), EVERY_S)
        else:
            _until_end(state, lambda said: print(line(said), file=sys.stderr, flush=True), PLAIN_EVERY_S)
    except KeyboardInterrupt:
        return 0
    return 0


def _until_end(state: Callable[[], State], show: Callable[[State], None], every_s: float) -> None:
    while True:
        said = state()
        show(said)
        if said.get("advice"):
            print(f"swarm: {said['advice']}", file=sys.stderr, flush=True)
        if said["has_ended"] or said["is_gone"] or said.get("advice"):
            return
        time.sleep(every_s)


def line(said: State) -> str:
    """Return the state as one line."""
    if said["points"]:
        return f"{said['name']}  {said['points']['done']}/{said['points']['total']} points"
    until = "" if said["until_s"] is None else f"/{said['until_s']:.0f}"
    if "wall_s" in said:
        return f"{said['now_s']:.0f}{until} s simulated  requests {count(said['ended'])}  open {said['open']}"
    recent = said["recent"]
    return (
        f"{said['now_s']:.0f}{until} s  agents {said['agents']}+{said['subagents']}  open {said['open']}  "
        f"sent {count(said['sent'])}  failed {said['failed']}  "
        f"eff. TTFT p95 {seconds(newest(recent['effective_ttft_p95_s']))}  "
        f"hits {share(newest(recent['hit_rate']))}"
    )


def view(said: State) -> RenderableType:
    """Return the state for a terminal of 80 columns."""
    parts: list[RenderableType] = [progress(said)]
    if not said["points"] and "wall_s" not in said:
        parts += [_agents(said), sparks(said["recent"]), *burn(said)]
    elif "wall_s" in said:
        parts.append(Text(f"requests {count(said['ended'])}   open {count(said['open'])}"))
    if said["failures"]:
        words = ", ".join(f"{kind} {count(number)}" for kind, number in sorted(said["failures"].items()))
        parts.append(Text(f"failed: {words}", "red"))
    parts += [Text(note, "dim") for note in said.get("notes", ())]
    return Group(*parts)


def progress(said: State) -> RenderableType:
    """Return the name, how far it is, and how long it will take."""
    table = Table.grid(padding=(0, 2))
    points, until_s = said["points"], said["until_s"]
    if points:
        done, words = points["done"] / points["total"], f"{points['done']} of {points['total']} points"
    elif until_s:
        done = min(1.0, said["now_s"] / until_s)
        words = f"{seconds(said['now_s'])} of {seconds(until_s)}{_left(said, until_s)}"
    else:
        done, words = None, seconds(said["now_s"])
    bar: RenderableType = "" if done is None else ProgressBar(total=1.0, completed=done, width=24)
    table.add_row(Text(said["name"], "bold"), bar, words)
    return table


def _left(said: State, until_s: float) -> str:
    if said["has_ended"] or not 0 < said["now_s"] < until_s:
        return ""
    left_s = until_s - said["now_s"]
    if "wall_s" in said:
        left_s *= said["wall_s"] / said["now_s"]
    return f", {seconds(left_s)} left"


def _agents(said: State) -> Text:
    parts = [("agents ", "dim"), (f"{said['agents']} + {said['subagents']} sub", "bold")]
    for name, number in said["doing"].items():
        if number:
            parts += [(f"   {name} ", "dim"), (count(number), "bold")]
    return Text.assemble(*parts)


def sparks(recent: Mapping[str, Sequence[float | None]]) -> Table:
    """Return a line for each figure: its name, its last value, and how it went."""
    table = Table.grid(padding=(0, 2))
    figures: tuple[tuple[str, str, Callable[[float | None], str]], ...] = (
        ("finished", "finished_per_s", lambda value: rate(value, "/s")),
        ("effective TTFT p95", "effective_ttft_p95_s", seconds),
        ("time per output token p95", "tpot_p95_s", seconds),
        ("hit rate", "hit_rate", share),
        ("output", "output_per_s", lambda value: rate(value, "tok/s")),
        ("send lag p95", "send_lag_p95_s", seconds),
    )
    for label, name, told in figures:
        values = recent.get(name) or []
        if newest(values) is not None:
            table.add_row(Text(label, "dim"), Text(told(newest(values)), "bold"), spark(values))
    return table


def burn(said: State) -> list[RenderableType]:
    """Return how much of the misses that the strictest objective allows have happened."""
    required, ended = said["required"], said["ended"]
    if required is None or not ended:
        return []
    good = said["good"] / ended
    used = (1 - good) / max(1e-9, 1 - required)
    style = "red" if used > 1 else "green"
    return [
        Text.assemble(
            ("within every objective ", "dim"),
            (share(good), style),
            (f" of {share(required)} needed; misses used ", "dim"),
            (f"{three(100 * used)} %", style),
        )
    ]


def spark(values: Sequence[float | None], width: int = SPARK) -> str:
    """Return values as bars of eight heights, the highest the greatest; a space where one is unknown."""
    tail = list(values)[-width:]
    known = [value for value in tail if value is not None]
    if not known:
        return ""
    low, high = min(0.0, *known), max(known)
    scale = (len(BARS) - 1) / (high - low) if high > low else 0.0
    return "".join(" " if value is None else BARS[round((value - low) * scale)] for value in tail)


def newest(values: Sequence[float | None]) -> float | None:
    """Return the last value that is known."""
    return next((value for value in reversed(values) if value is not None), None)
