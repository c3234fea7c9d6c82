"""Reports that the run folder's disk does not take: kept elsewhere, brought in again, told of in any case."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest
from full_disk import small_disk

from swarm.records import unstored
from swarm.records.batch import Batch, Gauges
from swarm.records.journal import Journal, read_batches
from swarm.records.rows import RowTable, to_message


def batch(sequence: int) -> Batch:
    return Batch(
        host=0, epoch=0, sequence=sequence, is_last=False, rows=to_message(RowTable().table()), open_rows=0,
        windows=b"", places=(), agents=(), itl=b"", loop_lag=b"",
        gauges=Gauges(float(sequence), 0, 0, 0, 0, 0.0, None, 0.0),
        sessions_ended=(), follows=(), faults=(),
    )  # fmt: skip


def test_what_a_full_disk_does_not_take_is_kept_elsewhere_and_brought_in_later(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "size=64k") as disk:
        where = (disk.path / "journal", disk.path, tmp_path / "elsewhere")
        disk.fill()
        assert unstored.store([batch(0), batch(1)], where) == tmp_path / "elsewhere" / unstored.NAME
        disk.clear()
        unstored.bring_in(where)
        assert [each.sequence for each in read_batches([disk.path / "journal" / unstored.NAME])] == [0, 1]
        assert not (tmp_path / "elsewhere" / unstored.NAME).exists()


def test_earlier_reports_are_not_lost_when_later_ones_find_no_room(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "size=64k") as disk:
        (disk.path / "journal").mkdir()
        unstored.store([batch(0)], [disk.path / "journal"])
        disk.fill()
        many = [batch(sequence) for sequence in range(1, 9)]
        assert unstored.store(many, [disk.path / "journal"]) is None
        assert read_batches([disk.path / "journal" / unstored.NAME])[0].sequence == 0


def test_what_is_to_be_said_is_written_over_in_place_on_a_full_disk(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "size=128k") as disk:
        unstored.set_aside(disk.path)
        disk.fill()
        unstored.note(disk.path, unstored="three requests")
        unstored.note(disk.path, end={"at_s": 3.0})
        assert unstored.noted(disk.path) == {"unstored": "three requests", "end": {"at_s": 3.0}}


def test_a_disk_that_is_read_only_keeps_what_was_said_before(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "size=128k") as disk:
        unstored.set_aside(disk.path)
        unstored.note(disk.path, unstored="one")
        disk.remount("ro")
        unstored.note(disk.path, unstored="two")
        assert unstored.noted(disk.path) == {"unstored": "one"}


@pytest.mark.parametrize(
    ("options", "change", "number"),
    [
        ("size=64k", None, errno.ENOSPC),
        ("size=64k", "ro", errno.EROFS),
    ],
)
def test_a_journal_says_why_its_disk_refuses(
    tmp_path: Path, options: str, change: str | None, number: int
) -> None:
    with small_disk(tmp_path / "disk", options) as disk:
        journal = Journal(disk.path / "x.journal")
        journal.append(b"whole")
        if change is None:
            disk.fill(leaving_bytes=4096)
        else:
            journal.close()
            disk.remount(change)
        with pytest.raises(OSError) as refusal:
            (journal if change is None else Journal(disk.path / "y.journal")).append(bytes(20_000))
        assert refusal.value.errno == number
        assert (disk.path / "x.journal").stat().st_size == 17


def test_a_journal_cannot_be_made_on_a_disk_without_inodes(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "size=64k,nr_inodes=2") as disk:
        (disk.path / "one").touch()
        with pytest.raises(OSError) as refusal:
            Journal(disk.path / "x.journal")
        assert refusal.value.errno == errno.ENOSPC
