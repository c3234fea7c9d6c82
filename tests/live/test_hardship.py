"""A target that goes away and returns, and a store that refuses: nothing is lost unseen."""

import asyncio
import errno
import os
import time
from pathlib import Path

import pytest
from swarms import aimed, experiment, provider

from swarm.live.coordinator import Coordinator, CoordinatorPlan
from swarm.live.host import Host
from swarm.live.host_plan import HostPlan
from swarm.live.report_outbox import Report, ReportError
from swarm.measure.results import Results, results_of
from swarm.records.batch import Batch
from swarm.records.journal import Journal, read_batches


def play(
    config, folder: Path, meanwhile, report=None, unstored: list[Batch] | None = None, late_s: float = 0.0
) -> Results:
    """Run one host of the experiment in this process, with something that happens meanwhile.

    The batches that nobody has stored are added to `unstored`; the host begins `late_s` after the run.
    """
    left: list[Batch] = [] if unstored is None else unstored
    coordinator = Coordinator(CoordinatorPlan.of(config, str(folder), epoch=0))

    async def receive(batch: Batch) -> int:
        return coordinator.receive(batch)

    async def go() -> None:
        plan = HostPlan(config, host=0, hosts=1, epoch=0, journal=str(folder), follows=(), takeover=None)
        host = Host(plan, ())
        host.begin(time.time() - late_s)
        run = host.run(report(coordinator) if report else receive)
        left.extend((await asyncio.gather(run, meanwhile()))[0])
        await host.close()

    asyncio.run(go())
    return results_of(
        read_batches(sorted(folder.glob("*.journal")), unstored=left),
        config,
        ended_s=config.load.duration_s,
        faults=(),
        counters=None,
        sessions_asked_mean=None,
        clock_offsets_s={},
    )


def test_a_target_that_goes_away_and_returns_costs_counted_failures(tmp_path: Path) -> None:
    config = experiment(
        load__duration_s=4.0,
        load__sessions_max=None,
        load__agents=12,
        target={"retry": {"attempts_max": 2, "wait_first_s": 0.05}, "timeouts": {"connect_s": 1}},
    )
    server = provider(config)
    port = server.__enter__()
    config = aimed(config, port)

    async def away_and_back() -> None:
        nonlocal server
        loop = asyncio.get_running_loop()
        await asyncio.sleep(1.0)
        await loop.run_in_executor(None, server.__exit__, None, None, None)
        await asyncio.sleep(1.0)
        server = provider(config, port)
        await loop.run_in_executor(None, server.__enter__)

    settled = play(config, tmp_path, away_and_back)
    server.__exit__(None, None, None)
    rows = settled.rows.to_pylist()
    failed = [row for row in rows if row["outcome"] == "failed"]
    assert failed
    assert {row["error_class"] for row in failed} <= {"refused", "reset", "truncated"}
    last_failure_s = max(row["completed_s"] for row in failed)
    assert any(row["outcome"] == "ok" and row["sent_s"] > last_failure_s for row in rows)
    assert settled.totals.sent == len(rows)
    assert settled.totals.unaccounted == 0


def test_a_coordinator_whose_store_refuses_gets_every_batch_later_once(tmp_path: Path) -> None:
    config = experiment(load__duration_s=2.0, load__sessions_max=None)

    refused: list[float] = []

    def refusing(coordinator: Coordinator):
        """Let the journal refuse for a second; hosts notice no more than a missing acknowledgement."""
        append = coordinator._journal.append
        until_s = time.monotonic() + 1.0

        def full(message: bytes) -> None:
            if time.monotonic() < until_s:
                refused.append(time.monotonic())
                raise OSError(28, "No space left on device")
            append(message)

        coordinator._journal.append = full  # type: ignore[method-assign]

        async def receive(batch: Batch) -> int:
            return coordinator.receive(batch)

        return receive

    async def nothing() -> None:
        return

    with provider(config) as port:
        settled = play(aimed(config, port), tmp_path, nothing, refusing)
    batches = read_batches([tmp_path / "coordinator-0.journal"])
    assert refused and batches
    assert [batch.sequence for batch in batches] == list(range(len(batches)))
    assert len(batches) == len(read_batches([tmp_path / "host-00000-0.journal"]))
    assert settled.totals.sent == settled.rows.num_rows > 0


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO])
def test_a_disk_that_refuses_ends_the_load_at_once_and_every_request_is_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    config = experiment(load__duration_s=30.0, load__sessions_max=None, load__drain_s=2.0)
    until_s = time.monotonic() + 0.7
    append = Journal.append
    told: list[Batch] = []

    def refusing(journal: Journal, message: bytes) -> None:
        if time.monotonic() > until_s:
            raise OSError(number, os.strerror(number))
        append(journal, message)

    def unreachable(coordinator: Coordinator) -> Report:
        async def report(batch: Batch) -> int:
            if batch.refusal:
                raise ReportError("it is gone")
            return coordinator.receive(batch)

        return report

    async def nothing() -> None:
        return

    monkeypatch.setattr(Journal, "append", refusing)
    with provider(config) as port:
        settled = play(aimed(config, port), tmp_path, nothing, unreachable, unstored=told)
    last_sent_s = max(row["sent_s"] for row in settled.rows.to_pylist() if row["sent_s"] is not None)
    assert told and last_sent_s < config.load.duration_s / 2
    assert settled.totals.sent == settled.rows.num_rows > 0
    (note,) = settled.totals.remarks
    assert os.strerror(number) in note and note.endswith("all that it sent is known")


def test_a_host_that_begins_after_the_load_has_ended_sends_nothing(tmp_path: Path) -> None:
    config = experiment(load__duration_s=2.0, load__sessions_max=None)

    async def nothing() -> None:
        return

    with provider(config) as port:
        settled = play(aimed(config, port), tmp_path, nothing, late_s=3.0)
    assert settled.totals.sent == settled.rows.num_rows == 0
