"""A node's traffic, without its loopback."""

from pathlib import Path

import pytest

from swarm.live import network_bytes

TEXT = """Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls
    lo: 9999 1 0 0 0 0 0 0 9999 1 0 0 0 0 0 0
  eth0: 100 1 0 0 0 0 0 0 40 1 0 0 0 0 0 0
  eth1:5 1 0 0 0 0 0 0 2 1 0 0 0 0 0 0
"""


@pytest.mark.parametrize(
    ("text", "sent", "received"), [(TEXT, 42, 105), ("broken\n\n eth0: 1", None, None), (None, None, None)]
)
def test_all_devices_count_but_the_loopback(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str | None, sent: int | None, received: int | None
) -> None:
    if text is not None:
        (tmp_path / "dev").write_text(text)
    monkeypatch.setattr(network_bytes, "DEVICES", tmp_path / "dev")
    assert network_bytes.network_bytes() == (sent, received)
