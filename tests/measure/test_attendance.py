"""Who ran which agents when, from batches made by hand: losses, replacements and stops by the second."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from swarm.config.experiment import Experiment
from swarm.measure.attendance import attendance_of
from swarm.measure.notes import notes_of
from swarm.measure.results import Results, results_of
from swarm.measure.sketch import Sketch
from swarm.measure.summary import summarize
from swarm.measure.totals import facts_of
from swarm.records.batch import AgentStep, Batch, Gauges
from swarm.records.rows import RowTable, to_message

ENDED_S = 40.0


def sketch(*values: float) -> bytes:
    made = Sketch()
    made.add_many(list(values))
    return made.to_bytes()


def batch(host: int, epoch: int, at_s: float, **changes: Any) -> Batch:
    """Return a batch of a host that sends two requests a second, all of them open."""
    begun_s = changes.get("begun_s", 0.0)
    sent = changes.pop("sent", int(2 * (at_s - begun_s)))
    gauges = Gauges(
        at_s=at_s,
        sessions_started=0,
        sessions_finished=0,
        open_requests=sent - changes.pop("missed", 0),
        sent=sent,
        cpu_s=0.0,
        cpu_wait_s=None,
        put_off_s=0.0,
    )
    values: dict[str, Any] = {
        "host": host,
        "epoch": epoch,
        "sequence": int(at_s * 10),
        "is_last": False,
        "rows": to_message(RowTable().table()),
        "open_rows": 0,
        "windows": b"",
        "places": (),
        "agents": (),
        "itl": sketch(),
        "loop_lag": sketch(0.001),
        "gauges": gauges,
        "sessions_ended": (),
        "follows": (),
        "faults": (),
    }
    return Batch(**{**values, **changes})


def watch(host: int, epoch: int, first: int, last: int, *, ends: bool, **changes: Any) -> list[Batch]:
    """Return a host's batches of each second."""
    at = range(first, last + 1)
    return [batch(host, epoch, at_s, is_last=ends and at_s == last, **changes) for at_s in at]


def started(batches: list[Batch], *names: str, at_s: float = 0.0) -> list[Batch]:
    """Return the batches with agents' starts in the first of them."""
    steps = tuple(AgentStep(at_s, 1, True, name, False) for name in names)
    return [replace(batches[0], agents=steps), *batches[1:]]


def stopped(batches: list[Batch], *names: str) -> list[Batch]:
    """Return the batches with agents' ends in the last of them, which the run's end brought."""
    steps = tuple(AgentStep(ENDED_S, -1, True, name, False) for name in names)
    return [*batches[:-1], replace(batches[-1], agents=(*batches[-1].agents, *steps))]


# Host 0 runs s0 from the start to the end. Host 1 runs s1 and is what each case is about.
STEADY = stopped(started(watch(0, 0, 1, 40, ends=True), "s0"), "s0")
LOST_AT_10 = started(watch(1, 0, 1, 10, ends=False), "s1")
LATE_UNTIL_10 = started(watch(1, 0, 1, 10, ends=False, waiting=2), "s1")
TAKEN_OVER_AT_15 = stopped(watch(1, 1, 16, 40, ends=True, begun_s=15.0), "s1")


def stood_still(from_s: int, to_s: int) -> list[Batch]:
    before, after = watch(1, 0, 1, from_s, ends=False), watch(1, 0, to_s, 40, ends=True)
    late = batch(1, 0, to_s, loop_lag=sketch(0.001, to_s - from_s - 0.1))
    return stopped(started([*before, late, *after[1:]], "s1"), "s1")


def settled(*hosts: list[Batch]) -> Results:
    asked = Experiment.model_validate(
        {
            "name": "t",
            "workload": {"kind": "synthetic"},
            "load": {"agents": 2, "ramp_s": 0, "duration_s": ENDED_S},
        }
    )
    batches = [each for host in hosts for each in host]
    return results_of(
        batches,
        asked,
        ended_s=ENDED_S,
        faults=(),
        counters=None,
        sessions_asked_mean=2.0,
        clock_offsets_s={},
    )


@pytest.mark.parametrize(
    ("host", "live_mean", "share", "unaccounted"),
    [
        (stopped(started(watch(1, 0, 1, 40, ends=True), "s1"), "s1"), 2.0, 0.0, 0),
        # Away from 10 to 15 s of 40; two requests a second, and one second between reports: 2 + 3 x sqrt(2).
        ([*LOST_AT_10, *TAKEN_OVER_AT_15], 1 + 35 / 40, 5 / 80, 7),
        # Not replaced: away for the rest.
        (LOST_AT_10, 1 + 10 / 40, 30 / 80, 7),
        # Half a second before the load's end: one is expected, and 1 + 3 x sqrt(1) are possible.
        (started([*watch(1, 0, 1, 39, ends=False), batch(1, 0, 39.5)], "s1"), 1 + 39.5 / 40, 0.5 / 80, 4),
        # Its reports waited for two others to be taken: three seconds of it are not known.
        (LATE_UNTIL_10, 1 + 10 / 40, 30 / 80, 14),
        # It had just begun, with nine sessions to play: each has sent one, at the least.
        (started([batch(1, 0, 0.0, due=9)], "s1"), 1.0, 40 / 80, 9),
        # Lost in the drain: nothing new was sent, and nobody missed it.
        (started(watch(1, 0, 1, 40, ends=False), "s1"), 2.0, 0.0, 0),
        (stood_still(5, 33), 1 + (40 - 27.9) / 40, 27.9 / 80, 0),
        # A second is no stop: reports may take as long.
        (stood_still(5, 6), 2.0, 0.0, 0),
    ],
    ids=[
        "steady",
        "replaced",
        "not replaced",
        "near the end",
        "late reports",
        "just begun",
        "in the drain",
        "stood still",
        "slow",
    ],
)
def test_agents_are_alive_while_somebody_runs_them(
    host: list[Batch], live_mean: float, share: float, unaccounted: int
) -> None:
    totals = settled(STEADY, host).totals
    assert totals.live_agents_mean == pytest.approx(live_mean)
    assert totals.unattended_share == pytest.approx(share)
    # Requests of these batches have no rows, so that all sent ones are unaccounted for: told apart here.
    assert sum(each.unseen for each in totals.absences) == unaccounted
    assert totals.orchestrators_started == 2


@pytest.mark.parametrize(("missed", "unseen"), [(0, 7), (1, 6), (7, 0), (8, 0)])
def test_what_a_replacement_knows_of_is_not_unaccounted_for_twice(missed: int, unseen: int) -> None:
    taken_over = watch(1, 1, 16, 40, ends=True, begun_s=15.0, missed=missed)
    (absence,) = attendance_of([*LOST_AT_10, *taken_over], report_every_s=1.0, ended_s=ENDED_S).absences
    assert absence.unseen == unseen


def test_an_agent_goes_on_where_it_is_next_heard_of() -> None:
    elsewhere = stopped(watch(2, 3, 21, 40, ends=True, begun_s=20.0), "s1")
    found = attendance_of([*LOST_AT_10, *elsewhere], report_every_s=1.0, ended_s=ENDED_S)
    times = [(host, step.at_s, step.change) for host, step in found.steps]
    assert sorted(times) == [(1, 0.0, 1), (1, 10, -1), (2, 20.0, 1), (2, ENDED_S, -1)]


def test_what_fell_due_while_nobody_ran_it_came_after() -> None:
    late = started(watch(1, 1, 16, 40, ends=True, begun_s=15.0), "s1/0", at_s=12.0)
    found = attendance_of([*LOST_AT_10, *late], report_every_s=1.0, ended_s=ENDED_S)
    assert [step.at_s for _, step in found.steps if step.agent == "s1/0"] == [15.0]


@pytest.mark.parametrize(
    ("host", "words", "is_valid"),
    [
        (LOST_AT_10, "host 1 was lost: it was last heard at 10.0 s and was not replaced", False),
        ([*LOST_AT_10, *TAKEN_OVER_AT_15], "last heard at 10.0 s and was replaced at 15.0 s", False),
        (stood_still(5, 33), "host 1 stood still from 5.1 to 33.0 s: nobody ran its agents", False),
        (stood_still(5, 8), "host 1 stood still from 5.1 to 8.0 s", True),
    ],
)
def test_an_absence_is_told_and_a_long_one_makes_the_run_invalid(
    host: list[Batch], words: str, is_valid: bool
) -> None:
    found = settled(STEADY, host)
    asked = Experiment.model_validate({"name": "t", "workload": {"kind": "synthetic"}})
    facts = facts_of(asked, run_id="r", mode="live", is_emulated=True)
    (note,) = notes_of(facts, found.totals)
    assert words in note
    summary = summarize(found.rows, facts=facts, totals=found.totals)
    told = [reason for reason in summary["invalid_reasons"] if "nobody ran" in reason]
    assert bool(told) is not is_valid
    assert len(summary["hosts"]["absences"]) == 1


def test_a_batch_keeps_its_beginning_in_a_journal() -> None:
    assert Batch.of_frame(batch(1, 1, 16.0, begun_s=15.0).frame()).begun_s == 15.0
