"""What is recorded of a served fleet, replayed: the same inputs give the same events, to the bit."""

from __future__ import annotations

import asyncio
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from swarm.config.fleet import FleetConfig
from swarm.errors import RunError
from swarm.provider.journal import FleetJournal, recorded, replay

TIGHT = {
    "block_tokens": 4,
    "cost": {
        "kind": "simple",
        "prefill_tokens_per_s": 40_000,
        "decode_base_s": 2e-4,
        "kv_bytes_per_token": 1000.0,
        "kv_capacity_tokens": 900,
    },
    "replicas": [{"count": 2, "max_sequences": 4, "max_batched_tokens": 64}],
    "tiers": [{"name": "hbm"}, {"name": "dram", "capacity_gib": 1e-3, "read_gib_per_s": 0.01, "ttl_s": 0.5}],
    "router": "prefix_aware",
    "max_waiting": 1,
}


def test_a_fresh_fleet_says_the_same_to_the_same_requests(desk: SimpleNamespace, tmp_path: Path) -> None:
    journal = tmp_path / "fleet.jsonl"

    async def main() -> None:
        config = desk.fleet(**TIGHT)
        async with desk.serving(config, journal=journal) as served:
            await asyncio.gather(*(_agent(served, number) for number in range(16)))

    desk.run(main)
    said = recorded(journal)
    # How many are refused or given up is the machine's pace.
    assert {"first", "finished"} <= {line[0] for line in said}
    # A request given up while the server closed has no end on either side; the others all have.
    assert said == replay(journal)[: len(said)]


def test_who_is_refused_and_who_gives_up_is_replayed(desk: SimpleNamespace, tmp_path: Path) -> None:
    """So slow a fleet that one runs, one waits, and the third of them has no place, until they go."""
    journal = tmp_path / "fleet.jsonl"
    slow = {**TIGHT["cost"], "prefill_tokens_per_s": 1e-3}
    group = {"count": 1, "max_sequences": 1, "max_batched_tokens": 64}

    async def main() -> None:
        async with desk.serving(
            desk.fleet(**{**TIGHT, "cost": slow, "replicas": [group]}), journal=journal
        ) as served:
            asked = [
                asyncio.ensure_future(
                    served.client.post("/v1/completions", json={"prompt": f"{k} waits", "max_tokens": 4})
                )
                for k in range(3)
            ]
            [answered], open_ones = await asyncio.wait(asked, return_when=asyncio.FIRST_COMPLETED)
            assert answered.result().status_code == 429
            for each in open_ones:
                each.cancel()
            while served.provider._driver.open_count:
                await asyncio.sleep(0)

    desk.run(main)
    assert journal.read_bytes().count(b'["cancel"') == 2
    said = recorded(journal)
    assert [line[0] for line in said] == ["refused"]
    assert said == replay(journal)


async def _agent(served: SimpleNamespace, number: int) -> None:
    """Ask seven times, each time with more, sometimes for too much; leave one in five after a token."""
    chance = np.random.default_rng(number)
    text = "shared " * 20 + f"agent {number} " * 5
    headers = {"X-Session-ID": f"s{number}"}
    for _ in range(7):
        tokens = 5000 if chance.random() < 0.1 else int(chance.integers(1, 60))
        body = {"prompt": text, "max_tokens": tokens}
        if chance.random() < 0.2:
            body = {"prompt": text, "max_tokens": 600, "stream": True}
            async with served.client.stream("POST", "/v1/completions", json=body, headers=headers) as answer:
                await anext(answer.aiter_bytes())
            continue
        answer = await served.client.post("/v1/completions", json=body, headers=headers)
        if answer.status_code == 200:
            text += answer.json()["choices"][0]["text"] + "more " * int(chance.integers(1, 20))


def test_a_journal_that_cannot_be_written_is_a_clear_error(tmp_path: Path, desk: SimpleNamespace) -> None:
    with pytest.raises(RunError, match=r"--journal .*name a file that can be written"):
        FleetJournal(tmp_path / "nowhere" / "x.jsonl", desk.fleet())


def test_a_full_disk_ends_the_journal_and_not_the_fleet(capsys: pytest.CaptureFixture[str]) -> None:
    journal = FleetJournal(Path("/dev/full"), FleetConfig())
    for request_id in range(5_000):
        journal.cancel(request_id, 1.0)
    journal.close()
    said = "swarm: --journal /dev/full: No space left on device: nothing more is recorded there\n"
    assert capsys.readouterr().err == said


def test_half_a_line_at_the_end_of_a_journal_is_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "fleet.jsonl"
    path.write_bytes(b'["finished",1.0,1]\n["finished",2.')
    assert recorded(path) == [["finished", 1.0, 1]]
