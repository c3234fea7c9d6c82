"""What writes is another process: it may be slow or die, and ends with what began it."""

from __future__ import annotations

import asyncio
import dataclasses
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from swarm.capture import scribe_pipe
from swarm.capture.exchange import Exchange
from swarm.capture.scribe import ScribeSettings
from swarm.capture.scribe_pipe import ScribePipe
from swarm.errors import RunError


def pipe(folder: Path) -> ScribePipe:
    return ScribePipe(
        ScribeSettings(
            folder=str(folder),
            salt=b"s",
            keeps_content=False,
            began_unix_s=1.0,
            file_bytes_max=1 << 20,
            folder_bytes_max=1 << 24,
        )
    )


def exchange() -> Exchange:
    return Exchange("chat", 1.0, 1e9, {}, b"", asked=[b'{"messages":["x"]}'], ended_s=2.0)


def test_one_that_dies_is_begun_again_and_what_it_missed_is_counted(
    tmp_path: Path, wire: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scribe_pipe, "BEGIN_AGAIN_S", 0.05)

    async def main() -> tuple[int, int]:
        writes = pipe(tmp_path)
        await writes.start()
        writes.take(exchange())
        while writes.told["entries"] < 1:
            await asyncio.sleep(0.005)
        assert writes._process is not None
        writes._process.kill()
        while not writes.deaths:
            await asyncio.sleep(0.005)
        writes.take(exchange())
        while writes._process is None or writes.told["entries"]:
            await asyncio.sleep(0.005)
        writes.take(exchange())
        await writes.close()
        return writes.dropped, writes.told["entries"]

    assert wire.run(main) == (1, 1)
    assert len(wire.entries(tmp_path)) == 2


def test_a_folder_that_cannot_be_written_is_said_at_once(tmp_path: Path, wire: SimpleNamespace) -> None:
    file = tmp_path / "file"
    file.touch()

    async def main() -> Any:
        writes = pipe(file)
        try:
            await writes.start()
        finally:
            await writes.close()

    with pytest.raises(RunError, match="nothing can be written"):
        wire.run(main)


@pytest.mark.parametrize("asked", [[], [b"one"], [b"one", b"two" * 50_000]])
def test_an_exchange_comes_back_from_its_parts(asked: list[bytes]) -> None:
    exchange = Exchange("chat", 1.0, 2.0, {b"user-agent": b"x"}, b"key", asked=asked, replied=[(3.0, b"yes")])
    again = Exchange.unpacked(b"".join(exchange.packed()))
    assert b"".join(again.asked) == b"".join(asked)
    assert dataclasses.replace(again, asked=asked) == exchange
