"""A run on the whole terminal, by textual: figures and sparklines, what each agent does, what was said.

Knows: the state that `going` and a live page give. Does not know: who runs; the process is one beside it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text
from textual.app import App, ComposeResult
from textual.binding import Binding
from textual.containers import VerticalScroll
from textual.widgets import DataTable, Footer, Static, TabbedContent, TabPane
from textual.worker import Worker, WorkerState

from swarm.report.live.terminal import (
    EVERY_S,
    SPARK,
    WIDTH,
    agents,
    burn,
    failed,
    progress,
    simulating,
    sparks,
)
from swarm.report.numbers import count, seconds

State = Mapping[str, Any]
AGENT_COLUMNS = ("agent", "does", "for", "turns", "context", "failed")
AGENT_WIDTH_MAX = 26


class RunScreen(App[None]):
    """The state of a run, taken anew once a second in a thread of its own, until it ends or is left."""

    CSS = """
    #head {height: auto; padding: 0 1; margin-bottom: 1}
    #figures {height: auto; padding: 0 1}
    #said {height: auto; padding: 0 1}
    #hint {height: auto; padding: 0 1}
    Screen {overflow: hidden}
    TabbedContent {height: 1fr}
    TabPane {padding: 0}
    DataTable {height: 1fr}
    """
    BINDINGS = [  # noqa: RUF012 - textual's own way
        Binding("s,ctrl+c", "stop", "Stop", key_display="s", priority=True),
        Binding("q", "quit", "Leave", priority=True),
        Binding("1", "show('overview')", "Overview"),
        Binding("2", "show('agents')", "Agents"),
        Binding("3", "show('notes')", "Notes"),
    ]
    ENABLE_COMMAND_PALETTE = False

    def __init__(
        self,
        state: Callable[[], State],
        *,
        stop: Callable[[], bool],
        is_over: Callable[[], bool] = lambda: False,
        every_s: float = EVERY_S,
    ) -> None:
        """`stop` asks for the run's end, and says whether anybody heard; `is_over` ends the view early."""
        super().__init__()
        self._state = state
        self._stop = stop
        self._is_over = is_over
        self._every_s = every_s
        self.said: State | None = None
        """The newest state; None before the first."""
        self.fault: BaseException | None = None
        """Why there is no further state."""

    def compose(self) -> ComposeResult:
        """Lay out the head, the three views, and the keys."""
        yield Static(id="head")
        with TabbedContent(initial="overview"):
            with TabPane("Overview", id="overview"), VerticalScroll():
                yield Static(id="figures")
            with TabPane("Agents", id="agents"):
                yield DataTable(id="doing", cursor_type="none", zebra_stripes=True)
            with TabPane("Notes", id="notes"), VerticalScroll():
                yield Static(id="said")
        yield Static(id="hint")
        yield Footer()

    def on_mount(self) -> None:
        """Begin to ask for states."""
        self.query_one(DataTable).add_columns(*AGENT_COLUMNS)
        self.set_interval(self._every_s, self._ask)
        self._ask()

    def on_resize(self) -> None:
        """Draw the same state at the new width."""
        self._draw()

    def action_show(self, pane: str) -> None:
        """Turn to one of the views."""
        self.query_one(TabbedContent).active = pane

    def action_stop(self) -> None:
        """Ask the run to come to its end, as Ctrl-C does elsewhere."""
        heard = self._stop()
        said = "no more turns begin, those in flight end" if heard else "nobody is there to be asked"
        self.query_one("#hint", Static).update(Text(f"Stop: {said}", "bold"))

    def on_worker_state_changed(self, event: Worker.StateChanged) -> None:
        """Draw a state that has come; end where there will be no other."""
        if event.worker.name != "state":
            return
        if event.state is WorkerState.SUCCESS and event.worker.result is not None:
            self.said = event.worker.result
            self._draw()
            if self.said["has_ended"] or self.said["is_gone"] or self.said.get("advice"):
                self.exit()
        elif event.state is WorkerState.ERROR:
            self.fault = event.worker.error
            self.exit()

    def _ask(self) -> None:
        if self._is_over():
            self.exit()
        elif not any(worker.name == "state" and not worker.is_finished for worker in self.workers):
            self.run_worker(self._state, name="state", thread=True, exit_on_error=False)

    def _draw(self) -> None:
        if self.said is None:
            return
        self.query_one("#head", Static).update(progress(self.said))
        self.query_one("#figures", Static).update(figures(self.said, self.size.width))
        self.query_one("#said", Static).update(Text("\n".join(self.said.get("notes", ())) or "Nothing yet."))
        self._list(self.said.get("listed", ()))

    def _list(self, listed: Any) -> None:
        table = self.query_one(DataTable)
        table.clear()
        for each in listed:
            table.add_row(
                shortened(each["agent"]),
                each["does"],
                seconds(each["for_s"]),
                count(each["turns"]),
                count(each["context"]),
                count(each["failed"]),
            )


def show_screen(state: Callable[[], State], *, stop: Callable[[], bool], is_over: Callable[[], bool]) -> int:
    """Show a state on the whole terminal until its end, or until it is left; return the exit code."""
    screen = RunScreen(state, stop=stop, is_over=is_over)
    screen.run(mouse=False)
    if screen.fault is not None:
        raise screen.fault
    return 0


def figures(said: State, width: int) -> RenderableType:
    """Return the figures of a state, with sparklines as wide as there is room for."""
    bars = SPARK + max(0, width - WIDTH)
    if said["points"]:
        return Text("\n".join(said.get("notes", ())))
    if "wall_s" in said:
        return simulating(said, bars)
    return Group(agents(said), Text(), sparks(said["recent"], bars), Text(), *burn(said), *failed(said))


def shortened(name: str) -> str:
    """Return an agent's name with its middle left out where it is long: the end tells siblings apart."""
    if len(name) <= AGENT_WIDTH_MAX:
        return name
    half = AGENT_WIDTH_MAX // 2
    return f"{name[: half - 1]}…{name[-half:]}"
