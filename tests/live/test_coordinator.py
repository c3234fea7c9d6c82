"""What the coordinator takes, refuses and remembers over its own death."""

import errno
from dataclasses import replace
from pathlib import Path

import pytest
from reported import AGENT, EXPERIMENT, reports

from swarm.live.coordinator import Coordinator, CoordinatorPlan
from swarm.live.ledger import HOST_LOST
from swarm.live.report_outbox import RETIRED
from swarm.measure.results import rows_of_hosts
from swarm.records.batch import AgentStep, Batch
from swarm.records.journal import Journal, read_batches
from swarm.records.takeover import is_lost, takeover_of


@pytest.fixture
def batches(tmp_path: Path) -> list[Batch]:
    return reports(tmp_path / "host")


def made(folder: Path) -> Coordinator:
    folder.mkdir(exist_ok=True)
    return Coordinator(CoordinatorPlan.of(EXPERIMENT, str(folder), epoch=0))


def test_a_batch_that_comes_again_is_counted_once(tmp_path: Path, batches: list[Batch]) -> None:
    coordinator = made(tmp_path)
    assert [coordinator.receive(batch) for batch in (batches[0], batches[0], batches[1])] == [0, 0, 1]
    assert (coordinator.snapshot().batches, coordinator.snapshot().batches_doubled) == (2, 1)
    assert len(read_batches(sorted(tmp_path.glob("*.journal")))) == 2


def test_a_coordinator_made_again_goes_on_where_the_other_died(tmp_path: Path, batches: list[Batch]) -> None:
    first = made(tmp_path)
    for batch in batches[:2]:
        first.receive(batch)
    again = made(tmp_path)
    for name in ("sent", "live_orchestrators", "sessions_started", "heard"):
        assert getattr(again.snapshot(), name) == getattr(first.snapshot(), name)
    assert [again.receive(batch) for batch in batches] == [1, 1, 2]


def test_a_replaced_host_is_refused(tmp_path: Path, batches: list[Batch]) -> None:
    coordinator = made(tmp_path)
    coordinator.receive(batches[0])
    assert coordinator.retire(0, 0) == 0
    assert coordinator.receive(batches[1]) == RETIRED
    assert coordinator.receive(replace(batches[0], epoch=1, follows=(0,))) == 0


def test_what_the_journal_refuses_is_kept_until_it_takes_it(
    tmp_path: Path, batches: list[Batch], monkeypatch: pytest.MonkeyPatch
) -> None:
    coordinator = made(tmp_path)
    append = Journal.append

    def full(journal: Journal, message: bytes) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    coordinator.receive(batches[0])
    monkeypatch.setattr(Journal, "append", full)
    assert coordinator.receive(batches[1]) == 1
    assert coordinator.unstored() == (batches[1],)
    refusal = coordinator.snapshot().refusal
    assert refusal == f"{tmp_path / 'coordinator-0.journal'} refuses writes: No space left on device"
    monkeypatch.setattr(Journal, "append", append)
    coordinator.receive(batches[2])
    assert coordinator.unstored() == ()
    assert [batch.sequence for batch in read_batches(tmp_path.glob("*.journal"))] == [0, 1, 2]


def test_what_a_host_wrote_after_it_was_replaced_does_not_count(tmp_path: Path, batches: list[Batch]) -> None:
    journal = Journal(tmp_path / "x.journal")
    for batch in (*batches, replace(batches[0], epoch=1, follows=(1,))):
        journal.append(batch.frame())
    kept = [(batch.epoch, batch.sequence) for batch in read_batches([journal.path])]
    assert kept == [(0, 0), (0, 1), (1, 0)]


@pytest.mark.parametrize(
    ("taken", "outcomes"),
    [(1, ["ok"]), (2, ["ok", "interrupted"]), (3, ["ok", "ok"])],
)
def test_a_request_that_was_open_when_its_host_was_lost_is_interrupted(
    batches: list[Batch], taken: int, outcomes: list[str]
) -> None:
    rows = [row for table in rows_of_hosts(batches[:taken]) for row in table.to_pylist()]
    assert [row["outcome"] for row in rows] == outcomes
    assert {row["error_class"] for row in rows if row["outcome"] == "interrupted"} <= {HOST_LOST}


@pytest.mark.parametrize(
    ("host", "says_so", "lost"),
    [(None, False, True), (None, True, False), (0, True, False), (1, True, True)],
)
def test_a_host_is_lost_unless_its_last_batch_says_that_it_ended(
    batches: list[Batch], host: int | None, says_so: bool, lost: bool
) -> None:
    assert is_lost([*batches[:-1], replace(batches[-1], is_last=says_so)], host) is lost


def test_an_agent_that_was_stopped_did_nothing_more_though_another_host_was_lost(
    batches: list[Batch],
) -> None:
    stop = AgentStep(2.0, -1, True, AGENT.path, False)
    stopped = [*batches[:-1], replace(batches[-1], agents=(stop,))]
    takeover = takeover_of(stopped, lambda name: True, heard_until_s=2.0, is_lost=True)
    assert takeover.stopped == {AGENT.path}
    gone_on = {name: takeover.may_have_gone_on(name) for name in ("s000000", "s000000/0", "s000001")}
    assert gone_on == {"s000000": False, "s000000/0": False, "s000001": True}


def test_a_takeover_knows_outcomes_and_open_turns(batches: list[Batch]) -> None:
    takeover = takeover_of(batches[:2], lambda name: True, heard_until_s=2.0, is_lost=True)
    assert [known.completed_s for known in takeover.outcomes["s000000"]] == [0.5]
    assert takeover.open_turns == {("s000000", 1)}
    assert takeover.live == {"s000000"}
    assert takeover.may_have_gone_on("s000000")
    assert takeover_of(batches[:2], lambda name: False, heard_until_s=2.0, is_lost=True).outcomes == {}


def test_failures_and_good_requests_are_added_up_over_its_death(tmp_path: Path, batches: list[Batch]) -> None:
    first = made(tmp_path)
    first.receive(replace(batches[0], failures=(("timeout", 2),), good=3))
    first.receive(replace(batches[1], failures=(("timeout", 1), ("reset", 1)), good=4))
    for coordinator in (first, made(tmp_path)):
        snapshot = coordinator.snapshot()
        assert (snapshot.failures, snapshot.good) == ({"timeout": 3, "reset": 1}, 7)
