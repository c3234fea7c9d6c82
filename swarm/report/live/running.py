"""A live run on the terminal that it was started from, from the driver's snapshots."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from swarm.config.experiment import Experiment
from swarm.live.coordinator import Snapshot
from swarm.measure.intervals import supports
from swarm.measure.window import COUNTS, Cell, Windows, windows_of
from swarm.report.numbers import count, rate, seconds, share

if TYPE_CHECKING:
    from rich.live import Live as Screen

PLAIN_EVERY_S = 5.0
"""Between the lines where there is no terminal."""
HISTORY = 120


class Live:
    """Shows a run's state: redrawn on a terminal, a line now and then elsewhere.

    What draws is imported for a terminal alone: with pandas it takes longer than a host's start.
    """

    def __init__(
        self,
        experiment: Experiment,
        *,
        only_lines: bool = False,
        elsewhere: Callable[[], bool] = lambda: False,
    ) -> None:
        """With `only_lines` nothing is drawn over; while it is shown `elsewhere`, nothing is drawn here."""
        self._experiment = experiment
        self._only_lines = only_lines
        self._elsewhere = elsewhere
        self._screen: Screen | None = None
        self._shown_s = 0.0
        self._alive: dict[int, float | None] = {}
        """Agents alive as last reported in a window, by its index."""
        self._history: dict[int, dict[str, float | None]] = {}
        """Figures of windows that are over, by their index."""

    def __enter__(self) -> Self:
        if sys.stderr.isatty() and not self._only_lines:
            from rich.console import Console
            from rich.live import Live as Screen

            console = Console(stderr=True, highlight=False)
            self._screen = Screen(console=console, auto_refresh=False, transient=True)
            self._screen.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._screen is not None:
            self._screen.stop()

    def show(self, snapshot: Snapshot) -> None:
        """Show the state as last reported."""
        if self._elsewhere():
            return
        windows = windows_of(self._experiment)
        windows.merge_bytes(snapshot.windows)
        now_s, recent = _recent(windows)
        if self._screen is not None:
            from swarm.report.live.terminal import view

            self._screen.update(view(self.state(snapshot, windows)), refresh=True)
        elif now_s - self._shown_s >= PLAIN_EVERY_S:
            self._shown_s = now_s
            print(self._line(snapshot, now_s, recent), file=sys.stderr, flush=True)

    def note(self, text: str) -> None:
        """Tell of something that happened."""
        if self._screen is not None:
            from rich.text import Text

            self._screen.console.print(Text(text, "dim"), soft_wrap=True)
        else:
            print(text, file=sys.stderr, flush=True)

    def state(self, snapshot: Snapshot, windows: Windows) -> dict[str, Any]:
        """Return the state as `report.live.terminal` shows it."""
        newest = max((index for index, _, _ in windows.cells), default=0)
        for index in sorted({index for index, _, _ in windows.cells if index < newest}):
            self._history[index] = _figures(windows, index)
        for index in sorted(self._history)[:-HISTORY]:
            del self._history[index]
        self._alive[newest] = snapshot.live_orchestrators + snapshot.live_subagents
        for index in self._alive.keys() - self._history.keys() - {newest}:
            del self._alive[index]
        kept = [
            {"live_agents": self._alive.get(index), **self._history[index]} for index in sorted(self._history)
        ]
        objectives = self._experiment.slo
        return {
            "name": self._experiment.name,
            "now_s": windows.start_s(newest),
            "until_s": self._experiment.load.duration_s,
            "has_ended": False,
            "points": {},
            "agents": snapshot.live_orchestrators,
            "subagents": snapshot.live_subagents,
            "doing": {
                "open requests": snapshot.open_requests,
                "sent": snapshot.sent,
                "sessions ended": snapshot.sessions_finished,
            },
            "ended": snapshot.ended,
            "good": snapshot.good,
            "required": max((each.quantile for each in objectives), default=None),
            "failures": snapshot.failures,
            "recent": {name: [each[name] for each in kept] for name in (kept[0] if kept else {})},
        }

    def _line(self, snapshot: Snapshot, now_s: float, recent: dict[str, Any]) -> str:
        until = self._experiment.load.duration_s
        span = "" if until is None else f"/{until:.0f}"
        return (
            f"{now_s:.0f}{span} s  agents {snapshot.live_orchestrators}+{snapshot.live_subagents}  "
            f"open {snapshot.open_requests}  sent {count(snapshot.sent)}  "
            f"{rate(recent['finished_per_s'], 'req/s')}  failed {recent['failed']}  "
            f"eff. TTFT p95 {seconds(recent['effective_ttft_s'])}  hits {share(recent['hit_rate'])}  "
            f"lag p99 {seconds(recent['send_lag_s'])}"
        )


def _recent(windows: Windows) -> tuple[float, dict[str, Any]]:
    """Return the newest time and what the windows before it add up to: the newest is not full yet."""
    newest = max((index for index, _, _ in windows.cells), default=0)
    full = [cell for (index, _, _), cell in windows.cells.items() if index < newest]
    oldest = min((index for index, _, _ in windows.cells), default=0)
    span_s = max(1, newest - oldest) * windows.window_s
    whole = _whole(windows, full)
    counts = dict(zip(COUNTS, whole.counts, strict=True))
    known = counts["known_prompt_tokens"]
    return windows.start_s(newest), {
        "finished_per_s": counts["finished"] / span_s,
        "failed": counts["failed"],
        "effective_ttft_s": _quantile(whole, "effective_ttft_s", 0.95),
        "send_lag_s": _quantile(whole, "send_lag_s", 0.99),
        "hit_rate": counts["cached_tokens"] / known if known else None,
    }


def _figures(windows: Windows, index: int) -> dict[str, float | None]:
    whole = _whole(windows, [cell for (at, _, _), cell in windows.cells.items() if at == index])
    counts = dict(zip(COUNTS, whole.counts, strict=True))
    known = counts["known_prompt_tokens"]
    return {
        "finished_per_s": counts["finished"] / windows.window_s,
        "effective_ttft_p95_s": _quantile(whole, "effective_ttft_s", 0.95),
        "tpot_p95_s": _quantile(whole, "tpot_s", 0.95),
        "hit_rate": counts["cached_tokens"] / known if known else None,
        "output_per_s": counts["output_tokens"] / windows.window_s,
        "send_lag_p95_s": _quantile(whole, "send_lag_s", 0.95),
    }


def _whole(windows: Windows, cells: list[Cell]) -> Cell:
    whole = Windows(window_s=windows.window_s, origin_s=0.0).cell((0, 0, ""))
    for cell in cells:
        whole.merge(cell)
    return whole


def _quantile(cell: Cell, name: str, part: float) -> float | None:
    sketch = cell.sketch(name)
    return sketch.quantile(part) if supports(sketch.count, part) else None
