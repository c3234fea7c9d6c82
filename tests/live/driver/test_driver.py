"""The course of a run by scripts: what the driver does about every loss, in virtual time."""

from __future__ import annotations

import math
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from reported import reports
from scripted_launcher import DRAIN_S, NODE, ROOM, UNIX_S, Life, Play, Script
from swarms import experiment

from swarm.errors import Interrupted, RunError
from swarm.live.driver.coordinator_contact import ASK_S_MAX, OUT_OF_REACH_S_MAX
from swarm.live.driver.driver import POLL_S, START_DELAY_S
from swarm.live.driver.load_time import ENDING_S_MAX
from swarm.live.driver.plans import AHEAD_S
from swarm.live.driver.processes import READY_S_MAX
from swarm.live.driver.recovered import Recovered, recover
from swarm.live.driver.roster import REPLACEMENTS_MAX, START_S_MAX

DURATION_S = 200.0
SILENT_S_MAX = 10.0
CARE = ("retire", "kill", "fetch", "start", "run")
REPLACED = [("retire", 0), ("kill", 0), ("fetch", 0), ("start", 1), ("run", 1)]


def played(folder: Path, lives: dict[tuple[int, int], Life] | None = None, **changes: Any) -> Play:
    """Return a run of two hosts over 200 s, with lives of its hosts, and changes to experiment or script."""
    names = ("away", "refuses", "program_fails_s", "room")
    script = {name: changes.pop(name) for name in names if name in changes}
    recovered = changes.pop("recovered", None)
    defaults = {
        "target": {"urls": ["http://127.0.0.1:9"], "model": "m"},
        "load__duration_s": DURATION_S,
        "load__sessions_max": None,
        "hosts__report_every_s": 1.0,
        "hosts__silent_max_s": SILENT_S_MAX,
    }
    return Play(experiment(**{**defaults, **changes}), Script(lives or {}, **script), folder, recovered)


def test_all_hosts_begin_at_one_time_once_all_are_ready(tmp_path: Path) -> None:
    play = played(tmp_path, {(1, 0): Life(ready_after_s=7.0)})
    end = play.drive()
    assert play.began_s == [1_007.0]
    assert {host.start_unix_s for host in play.launcher.hosts} == {UNIX_S + 7.0 + START_DELAY_S}
    assert (end.at_s, end.faults) == (DURATION_S, ())
    assert play.launcher.run_s == pytest.approx(DURATION_S + DRAIN_S, abs=POLL_S)
    assert play.seen.notes == ["hosts ready: 1 of 2", "hosts ready: 2 of 2"]


def test_a_run_without_a_duration_ends_with_its_last_host(tmp_path: Path) -> None:
    play = played(tmp_path, load__duration_s=None, load__sessions_max=12)

    def run_out_of_sessions() -> None:
        for host in play.launcher.hosts:
            host.stop()

    play.launcher.when(50.0, run_out_of_sessions)
    assert play.drive().at_s == pytest.approx(50.0 + DRAIN_S, abs=POLL_S)


def test_clocks_are_compared_before_the_begin(tmp_path: Path) -> None:
    offsets_s = {0: 0.25, 1: -3.0}
    lives = {(host, 0): Life(clock_offset_s=offset_s) for host, offset_s in offsets_s.items()}
    assert played(tmp_path, lives).drive().clock_offsets_s == pytest.approx(offsets_s)


def test_a_node_that_will_not_carry_its_hosts_is_warned_of(tmp_path: Path) -> None:
    play = played(tmp_path, room=replace(ROOM, files_max=16))
    end = play.drive()
    (warning,) = end.warnings
    assert warning.startswith(f"node {NODE}: its 2 hosts may open 16 files each")
    assert f"warning: {warning}" in play.seen.notes


def test_hosts_that_are_not_ready_in_time_end_the_run_before_its_begin(tmp_path: Path) -> None:
    play = played(tmp_path, {(1, 0): Life(ready_after_s=READY_S_MAX + 5)})
    with pytest.raises(RunError, match="1 of 2 hosts were not ready within 300 s"):
        play.drive()
    assert play.began_s == []


def test_a_host_that_cannot_be_made_ends_the_run_before_its_begin(tmp_path: Path) -> None:
    play = played(tmp_path, {(0, 0): Life(unstartable="no such module")})
    with pytest.raises(
        RunError, match=r"host 0 ended before the run began, .*no turn was sent; no such module; run"
    ):
        play.drive()
    assert play.began_s == []


def test_a_signal_before_the_begin_begins_nothing(tmp_path: Path) -> None:
    play = played(tmp_path)
    play.interrupts.received = signal.SIGINT
    with pytest.raises(Interrupted):
        play.drive()
    assert play.began_s == []
    assert play.asked(0, "run") == []


@pytest.mark.parametrize(
    ("ready", "at_s"), [("hosts ready: 1 of 2", 1_003.0), ("hosts ready: 2 of 2", 1_007.0)]
)
def test_a_signal_while_hosts_get_ready_begins_nothing(tmp_path: Path, ready: str, at_s: float) -> None:
    play = played(tmp_path, {(0, 0): Life(ready_after_s=2.5), (1, 0): Life(ready_after_s=7.0)})
    note = play.seen.note

    def arrive_when_noted(text: str) -> None:
        note(text)
        if text == ready:
            play.interrupts.received = signal.SIGINT

    play.seen.note = arrive_when_noted  # type: ignore[method-assign]
    with pytest.raises(Interrupted):
        play.drive()
    assert (play.began_s, play.launcher.monotonic_s()) == ([], at_s)


def test_a_signal_ends_the_load_and_every_host_drains(tmp_path: Path) -> None:
    play = played(tmp_path)
    play.signal(30.0)
    end = play.drive()
    assert end.at_s == pytest.approx(30.0, abs=POLL_S)
    assert [play.asked(host, "stop") for host in (0, 1)] == [[("stop", 0)], [("stop", 0)]]
    assert end.faults == ()


@pytest.mark.parametrize(("life", "lost_s"), [
    (Life(dies_s=30.0), 30.0),
    (Life(silent_from_s=30.0), 30.0 + SILENT_S_MAX),
    (Life(silent_from_s=0.0), START_S_MAX - START_DELAY_S - Life().ready_after_s),
])  # fmt: skip
def test_a_lost_host_is_ended_and_another_one_goes_on_in_the_next_epoch(
    tmp_path: Path, life: Life, lost_s: float
) -> None:
    play = played(tmp_path, {(0, 0): life})
    end = play.drive()
    assert play.asked(0, *CARE)[2:] == REPLACED
    assert play.asked(1, *CARE) == [("start", 0), ("run", 0)]
    assert lost_s <= play.launcher.started_s[0, 1] <= lost_s + 2 * POLL_S
    assert {host.start_unix_s for host in play.launcher.hosts} == {UNIX_S + 1.0 + START_DELAY_S}
    assert end.faults == ()
    assert play.seen.notes[-1] == "host 0: its sessions go on in epoch 1"


def test_both_hosts_may_be_lost_at_one_time(tmp_path: Path) -> None:
    play = played(tmp_path, {(host, 0): Life(dies_s=30.0) for host in (0, 1)})
    assert play.drive().faults == ()
    assert [play.asked(host, *CARE)[2:] for host in (0, 1)] == [REPLACED, REPLACED]


def test_where_no_node_is_left_the_run_ends_with_what_it_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuses(*_: Any, **__: Any) -> None:
        raise RunError("no node lives")

    play = played(tmp_path, {(host, 0): Life(dies_s=30.0) for host in (0, 1)})
    play.launcher.when(29.0, lambda: monkeypatch.setattr(play.launcher, "start_host", refuses))
    assert play.drive().faults == tuple(
        f"host {host} was lost (its process died), and no other goes on with its sessions: no node lives"
        for host in (0, 1)
    )


def test_a_replacement_reserves_no_cpus(tmp_path: Path) -> None:
    play = played(tmp_path, {(0, 0): Life(dies_s=30.0)}, hosts__cpus_per_host=1.5)
    play.drive()
    assert [(host, epoch, cpus) for kind, host, epoch, cpus, _ in starts(play)] == [
        (0, 0, 1.5),
        (1, 0, 1.5),
        (0, 1, 0.0),
    ]


@pytest.mark.parametrize(
    ("hosts", "spreads"),
    [({}, False), ({"agents_per_host": 1}, True), ({"subagents": "spread"}, True)],
)
def test_sub_agents_are_spread_where_the_experiment_says_so(
    tmp_path: Path, hosts: dict[str, Any], spreads: bool
) -> None:
    play = played(tmp_path, hosts=hosts, load__agents=2)
    play.drive()
    assert {each[-1] for each in starts(play)} == {spreads}


def starts(play: Play) -> list[tuple[Any, ...]]:
    return [each for each in play.launcher.log if each[0] == "start"]


@pytest.mark.parametrize(("lost", "turns"), [(0, {"s000000": 2}), (1, {})])
def test_a_replacement_is_told_what_is_in_the_journals_of_its_own_sessions(
    tmp_path: Path, lost: int, turns: dict[str, int]
) -> None:
    play = played(tmp_path, {(lost, 0): Life(dies_s=30.0)})
    batches = reports(tmp_path, host=lost, begun_ago_s=29.0)
    reports(tmp_path, host=1 - lost, begun_ago_s=29.5)
    play.drive()
    assert [plan.takeover for plan in play.launcher.plans[:2]] == [None, None]
    plan = play.launcher.plans[2]
    assert (plan.host, plan.epoch, plan.follows) == (lost, 1, (batches[-1].sequence,))
    assert plan.takeover is not None
    assert {agent: len(known) for agent, known in plan.takeover.outcomes.items()} == turns
    assert plan.takeover.heard_until_s == batches[-1].gauges.at_s
    assert plan.takeover.is_lost


def test_hosts_of_a_resumed_run_are_told_of_their_sessions_whoever_ran_them(tmp_path: Path) -> None:
    batches = reports(tmp_path, host=5)
    found = recover(tmp_path)
    assert (found.epoch, found.stopped_s) == (1, batches[-1].gauges.at_s)
    play = played(tmp_path, recovered=found)
    play.drive()
    takeovers = [plan.takeover for plan in play.launcher.plans]
    assert [takeover is not None and list(takeover.outcomes) for takeover in takeovers] == [["s000000"], []]
    assert [plan.follows for plan in play.launcher.plans] == [(-1,), (-1,)]


def test_a_journal_that_cannot_be_fetched_is_noted_and_the_host_replaced(tmp_path: Path) -> None:
    play = played(tmp_path, {(0, 0): Life(dies_s=30.0, journal_fault="its node is gone")})
    play.drive()
    assert "host 0: its journal is not to be had: its node is gone" in play.seen.notes
    assert play.asked(0, "start") == [("start", 0), ("start", 1)]


def test_a_host_that_is_lost_again_and_again_is_given_up(tmp_path: Path) -> None:
    lives = {(0, epoch): Life(dies_s=10.0 * (epoch + 1)) for epoch in range(20)}
    play = played(tmp_path, lives)
    end = play.drive()
    assert play.asked(0, "start") == [("start", epoch) for epoch in range(REPLACEMENTS_MAX + 1)]
    assert end.faults == ("host 0 was lost again and again, the last time: its process died",)
    assert end.at_s == DURATION_S


def test_a_host_whose_code_fails_is_not_replaced(tmp_path: Path) -> None:
    play = played(tmp_path, {(0, 0): Life(fails_s=30.0)})
    end = play.drive()
    assert end.faults == ("host 0 failed: ValueError: a defect",)
    assert play.asked(0, *CARE) == [("start", 0), ("run", 0)]


def test_a_program_that_broke_a_rule_on_one_host_ends_the_load_on_all(tmp_path: Path) -> None:
    play = played(tmp_path, program_fails_s=30.0)
    end = play.drive()
    assert end.at_s == pytest.approx(30.0, abs=2 * POLL_S)
    assert [play.asked(host, "stop") for host in (0, 1)] == [[("stop", 0)], [("stop", 0)]]
    assert play.seen.notes[-1] == "a program has broken a rule: the run is stopped"


def test_a_host_that_is_lost_after_the_load_is_salvaged_and_not_replaced(tmp_path: Path) -> None:
    play = played(tmp_path, {(0, 0): Life(dies_s=DURATION_S + 0.1)})
    assert play.drive().faults == ()
    assert play.asked(0, *CARE)[2:] == REPLACED[:3]


def test_a_host_that_is_lost_after_a_stop_is_salvaged_and_not_replaced(tmp_path: Path) -> None:
    play = played(tmp_path, {(0, 0): Life(dies_s=31.0, hangs=True)})
    play.signal(30.0)
    assert play.drive().faults == ()
    assert play.asked(0, *CARE)[2:] == REPLACED[:3]


@pytest.mark.parametrize("stop_s", [None, 30.0])
def test_hosts_that_do_not_end_are_given_up(tmp_path: Path, stop_s: float | None) -> None:
    play = played(tmp_path, {(1, 0): Life(hangs=True)}, load__drain_s=5.0)
    if stop_s is not None:
        play.signal(stop_s)
    end = play.drive()
    ended_s = DURATION_S if stop_s is None else stop_s
    assert end.faults == ("host 1 did not end within 60 s of the load's end",)
    assert end.at_s == pytest.approx(ended_s, abs=POLL_S)
    assert play.launcher.run_s == pytest.approx(ended_s + 5.0 + ENDING_S_MAX, abs=2 * POLL_S)
    assert play.asked(1, *CARE)[2:] == REPLACED[:3]


def test_a_coordinator_that_comes_back_costs_no_host(tmp_path: Path) -> None:
    play = played(tmp_path, away=(30.0, 30.0 + OUT_OF_REACH_S_MAX - 10.0))
    end = play.drive()
    assert (end.at_s, end.faults) == (DURATION_S, ())
    assert [each[1:3] for each in starts(play)] == [(0, 0), (1, 0)]


def test_a_coordinator_that_stays_away_ends_the_load(tmp_path: Path) -> None:
    play = played(tmp_path, away=(30.0, math.inf))
    end = play.drive()
    assert end.faults == ("the coordinator was lost and did not come back",)
    assert end.at_s == pytest.approx(30.0 + OUT_OF_REACH_S_MAX, abs=2 * (ASK_S_MAX + POLL_S))
    assert play.asked(0, *CARE, "stop") == [("start", 0), ("run", 0), ("stop", 0)]


def test_a_full_disk_of_the_coordinator_ends_the_load_at_once(tmp_path: Path) -> None:
    play = played(tmp_path, refuses=(30.0, 90.0))
    end = play.drive()
    assert end.at_s == pytest.approx(30.0, abs=2 * POLL_S)
    assert end.faults == (f"reports could not be stored: disk: full: the load was ended at {end.at_s:.1f} s",)
    assert play.asked(0, *CARE, "stop") == [("start", 0), ("run", 0), ("stop", 0)]


def test_hosts_are_not_to_blame_for_a_disk_that_is_full_while_they_drain(tmp_path: Path) -> None:
    play = played(tmp_path, refuses=(DURATION_S, DURATION_S + 90.0))
    end = play.drive()
    assert (end.at_s, end.faults) == (DURATION_S, ())
    assert [each[1:3] for each in starts(play)] == [(0, 0), (1, 0)]


def test_a_disk_that_is_full_from_the_start_ends_a_run_before_it_begins(tmp_path: Path) -> None:
    play = played(tmp_path, refuses=(-math.inf, math.inf))
    with pytest.raises(RunError, match="reports cannot be stored: disk: full; nothing was sent"):
        play.drive()


def ramped(folder: Path, lives: dict[tuple[int, int], Life] | None = None, **changes: Any) -> Play:
    """Return a run of four hosts that a ramp of 160 s needs one after the other, every 40 s."""
    return played(
        folder,
        lives,
        hosts__start="in_turn",
        hosts__count=4,
        load__agents=8,
        load__ramp_s=160.0,
        **changes,
    )


def test_a_host_is_started_when_the_ramp_will_need_it(tmp_path: Path) -> None:
    play = ramped(tmp_path)
    play.drive()
    found = play.launcher.started_s
    assert list(found) == [(host, 0) for host in range(4)]
    assert found[0, 0] == -math.inf
    for host in (1, 2, 3):
        assert found[host, 0] == pytest.approx(40.0 * host - AHEAD_S, abs=2 * POLL_S)
    assert play.seen.notes == [f"host {host} is started: {host + 1} of 4" for host in (1, 2, 3)]


def test_no_late_host_is_started_after_a_stop(tmp_path: Path) -> None:
    play = ramped(tmp_path)
    play.signal(30.0)
    play.drive()
    assert list(play.launcher.started_s) == [(0, 0), (1, 0)]
    assert play.launcher.run_s < 40.0


def test_late_hosts_are_started_though_every_host_before_them_has_failed(tmp_path: Path) -> None:
    play = ramped(tmp_path, {(0, 0): Life(fails_s=5.0)})
    play.drive()
    assert list(play.launcher.started_s) == [(host, 0) for host in range(4)]


def test_a_late_host_that_is_lost_is_replaced(tmp_path: Path) -> None:
    play = ramped(tmp_path, {(2, 0): Life(dies_s=75.0)})
    assert play.drive().faults == ()
    assert play.asked(2, *CARE)[2:] == REPLACED


def test_a_resumed_run_goes_on_at_the_time_where_it_stopped_with_all_hosts(tmp_path: Path) -> None:
    play = ramped(tmp_path, recovered=Recovered(batches=[], stopped_s=50.0, epoch=3))
    end = play.drive()
    assert [each[1:3] for each in starts(play)] == [(host, 3) for host in range(4)]
    assert {host.start_unix_s for host in play.launcher.hosts} == {UNIX_S + 1.0 + START_DELAY_S - 50.0}
    assert end.at_s == DURATION_S


def test_replacements_of_a_resumed_run_are_counted_from_its_first_epoch(tmp_path: Path) -> None:
    lives = {(0, epoch): Life(dies_s=60.0 + epoch) for epoch in range(20)}
    play = played(tmp_path, lives, recovered=Recovered(batches=[], stopped_s=50.0, epoch=3))
    play.drive()
    assert play.asked(0, "start") == [("start", epoch) for epoch in range(3, 3 + REPLACEMENTS_MAX + 1)]


def searched(folder: Path, lives: dict[tuple[int, int], Life] | None = None, **search: Any) -> Play:
    config = {"agents_max": 4, "hold_min_s": 1000, "hold_max_s": 1000, **search}
    slo = [{"metric": "tpot_s", "quantile": 0.5, "at_most": 1.0}]
    return played(folder, lives, load={"ramp_s": 0.0, "drain_s": 2, "search": config}, slo=slo)


def test_a_replacement_in_a_search_begins_with_the_level_of_the_others(tmp_path: Path) -> None:
    play = searched(tmp_path, {(0, 0): Life(dies_s=30.0)}, agents_from=3)
    play.signal(60.0)
    end = play.drive()
    assert end.capacity is not None and not end.capacity["is_complete"]
    (order,) = play.launcher.hosts[-1].orders
    assert play.launcher.hosts[-1].plan.epoch == 1
    assert (order.agents, order.before, order.ramp_s) == (3, 3, 0.0)
    assert order.from_s == pytest.approx(30.0, abs=2 * POLL_S)


def test_a_search_that_is_done_ends_the_load(tmp_path: Path) -> None:
    play = searched(tmp_path, agents_max=1, hold_min_s=2, hold_max_s=2)
    end = play.drive()
    assert end.capacity is not None and end.capacity["is_complete"]
    assert [level["agents"] for level in end.capacity["levels"]] == [1]
    assert end.at_s < 30.0
    assert play.asked(0, "stop") == [("stop", 0)]


def test_a_search_that_is_stopped_goes_no_further(tmp_path: Path) -> None:
    play = searched(tmp_path, {(0, 0): Life(hangs=True)}, hold_min_s=10, hold_max_s=10)
    play.signal(2.0)
    end = play.drive()
    assert play.launcher.run_s > 50.0, "a host that hangs lets the driver look on"
    assert end.capacity is not None and end.capacity["levels"] == []
    assert len(play.launcher.hosts[1].orders) == 1


def test_what_was_reported_is_shown_at_every_look(tmp_path: Path) -> None:
    play = played(tmp_path)
    play.drive()
    assert play.seen.shown == pytest.approx(DURATION_S / POLL_S, abs=3)


@pytest.mark.parametrize(("drain_s", "told"), [(None, 1), (2.0, 2), (0.0, 2)])
def test_hosts_are_told_again_when_a_signal_leaves_them_no_more_time(
    tmp_path: Path, drain_s: float | None, told: int
) -> None:
    play = played(tmp_path, {(1, 0): Life(hangs=True)}, load__drain_s=20.0)
    play.stop_drain_s = drain_s
    play.signal(30.0)
    play.drive()
    assert len(play.asked(1, "stop")) == told
