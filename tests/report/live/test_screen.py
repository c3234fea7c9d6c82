"""The view on the whole terminal, without a terminal: what it shows, its keys, its end."""

import asyncio
from typing import Any

import pytest

pytest.importorskip("textual")

from textual.widgets import DataTable, TabbedContent

from swarm.errors import UsageError
from swarm.report.live.screen import RunScreen, shortened
from swarm.report.live.terminal import of_folder

SIZE = (80, 24)


def shown(screen: RunScreen, *keys: str) -> tuple[str, int, str]:
    """Return what stands on a terminal after these keys, the rows of the agents, and the view's name."""

    async def look() -> tuple[str, int, str]:
        async with screen.run_test(size=SIZE) as pilot:
            await screen.workers.wait_for_complete()
            await pilot.pause()
            await pilot.press(*keys)
            await pilot.pause()
            strips = screen.screen._compositor.render_strips()
            lines = ["".join(segment.text for segment in strip) for strip in strips]
            rows = screen.query_one(DataTable).row_count
            return "\n".join(lines), rows, screen.query_one(TabbedContent).active

    return asyncio.run(look())


def of_run(going_run: Any, **more: Any) -> RunScreen:
    from swarm.report.live.going import Going

    going_run.until(300.0)
    return RunScreen(of_folder(Going(going_run.path)), **{"stop": lambda: True, **more})


def test_a_run_stands_on_eighty_columns(going_run) -> None:
    text, rows, _ = shown(of_run(going_run))
    for part in ("sample", "10 min left", "agents alive", "finished", "effective TTFT p95", "hit rate", "▁"):
        assert part in text, text
    assert rows > 0


def test_keys_turn_to_the_agents_and_the_notes(going_run) -> None:
    text, _, pane = shown(of_run(going_run), "2")
    assert pane == "agents" and "asks the model" in text
    going_run.course.tell("note", text="host 3 was lost")
    text, _, pane = shown(of_run(going_run), "3")
    assert pane == "notes" and "host 3 was lost" in text


def test_stop_is_asked_for_by_a_key(going_run) -> None:
    asked: list[bool] = []
    text, _, _ = shown(of_run(going_run, stop=lambda: asked.append(True) or True), "s")
    assert asked == [True] and "those in flight end" in text


def test_it_ends_with_the_run(going_run, sample_run) -> None:
    going_run.until(300.0)
    going_run.end(sample_run)
    screen = of_run(going_run)
    shown(screen)
    assert screen.said is not None and screen.said["has_ended"] and not screen.is_running


def test_it_ends_when_its_run_is_gone(going_run) -> None:
    screen = of_run(going_run, is_over=lambda: True)
    shown(screen)
    assert not screen.is_running


def test_a_state_that_cannot_be_had_ends_it_with_the_reason() -> None:
    def no_state() -> Any:
        raise UsageError("no live page answers there")

    screen = RunScreen(no_state, stop=lambda: False)
    shown(screen)
    assert "no live page" in str(screen.fault)


def test_long_names_keep_both_ends() -> None:
    assert shortened("s-1/0") == "s-1/0"
    name = "some-very-long-session-name-0001/3/2"
    assert len(shortened(name)) <= 26 and shortened(name).endswith("01/3/2") and "…" in shortened(name)
