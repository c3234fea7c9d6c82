"""A state on a terminal of 80 columns, and as a line where there is none."""

from io import StringIO
from typing import Any

import pytest
from rich.console import Console

from swarm.errors import UsageError
from swarm.report.live.going import Going
from swarm.report.live.points import Points
from swarm.report.live.terminal import line, of_url, spark, view

STATE: dict[str, Any] = {
    "name": "sample", "now_s": 300.0, "until_s": 900.0, "has_ended": False, "is_gone": False, "points": {},
    "agents": 1200, "subagents": 340, "open": 96, "sent": 12000, "ended": 11904, "failed": 3, "good": 11000,
    "required": 0.95, "failures": {"http_429": 3},
    "doing": {"asks the model": 96, "compacts": 1, "waits for sub-agents": 60, "thinks": 1383},
    "recent": {
        "finished_per_s": [10.0, 20.0], "effective_ttft_p95_s": [0.2, None, 0.4], "tpot_p95_s": [0.02],
        "hit_rate": [0.9, 0.96], "output_per_s": [], "send_lag_p95_s": [None],
    },
}  # fmt: skip


def drawn(state: dict[str, Any], width: int = 80) -> list[str]:
    file = StringIO()
    Console(width=width, file=file).print(view(state))
    return file.getvalue().splitlines()


def test_a_run_fits_eighty_columns() -> None:
    lines = drawn(STATE)
    assert max(map(len, lines)) <= 80
    text = "\n".join(lines)
    assert "10 min left" in text and "1,200 + 340 sub" in text
    assert "hit rate" in text and "96.0 %" in text and "http_429 3" in text


def test_the_misses_that_objectives_allow_burn() -> None:
    # 904 of 11,904 missed, where 5 % may: 152 %.
    assert "misses used 152 %" in "\n".join(drawn(STATE))


@pytest.mark.parametrize(
    ("values", "bars"),
    [([], ""), ([None, None], ""), ([0, 1], "▁█"), ([1, None, 1], "█ █"), ([0, 0], "▁▁"), ([-1, 1], "▁█")],
)
def test_a_sparkline_is_as_high_as_its_highest(values: list[float | None], bars: str) -> None:
    assert spark(values) == bars


def test_a_sweep_and_a_simulation_say_how_far_they_are() -> None:
    sweep = {**STATE, "points": {"done": 3, "total": 12}}
    assert "3 of 12 points" in "\n".join(drawn(sweep)) and "3/12 points" in line(sweep)
    simulation = {**STATE, "wall_s": 10.0}
    assert "20 s left" in "\n".join(drawn(simulation)) and "simulated" in line(simulation)


def test_a_line_holds_what_a_log_needs() -> None:
    for part in ("300/900 s", "agents 1200+340", "open 96", "failed 3", "hits 96.0 %"):
        assert part in line(STATE)


def test_a_folder_is_drawn_from_what_was_told(going_run) -> None:
    going_run.until(300.0)
    going = Going(going_run.path)
    going.read()
    text = "\n".join(drawn({**going.head(going.over_time()), "notes": []}))
    assert "sample" in text and "10 min left" in text


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:1/", "ftp://127.0.0.1/?token=x", "http://127.0.0.1:1/?token=x"]
)
def test_a_url_that_is_no_page_is_refused(url: str) -> None:
    with pytest.raises(UsageError, match="live page"):
        of_url(url)()


class Terminal(StringIO):
    """A terminal of 80 columns that keeps what is written."""

    def isatty(self) -> bool:
        return True


def test_points_of_a_sweep_are_told_with_what_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    terminal, log = Terminal(), StringIO()
    for stream in (terminal, log):
        with Points("sample", 3, stream) as points:
            points.ended("1/3  [first]  done")
            points.ended("2/3  second  done")
    assert log.getvalue() == "1/3  [first]  done\n2/3  second  done\n"
    text = terminal.getvalue()
    assert "1/3  [first]  done" in text and "2 of 3 points" in text and " left" in text


def test_points_that_are_left_take_as_long_as_those_before() -> None:
    sweep = {**STATE, "points": {"done": 3, "total": 12, "wall_s": 30.0}}
    assert "3 of 12 points, 90 s left" in "\n".join(drawn(sweep))


def test_a_simulation_says_its_speed() -> None:
    text = "\n".join(drawn({**STATE, "wall_s": 10.0, "recent": {"open": [1.0, 2.0]}}))
    assert "30 times as fast as real time" in text and "▅█" in text
