"""What this node has sent and received over its network."""

from __future__ import annotations

from pathlib import Path

DEVICES = Path("/proc/net/dev")
"""One line a device: received bytes and seven counts more, then sent bytes (proc(5))."""
LOOPBACK = "lo"


def network_bytes() -> tuple[int, int] | tuple[None, None]:
    """Return the bytes sent and received since the node's start; loopback is no network."""
    try:
        lines = DEVICES.read_text().splitlines()
        fields = {name.strip(): rest.split() for name, _, rest in (line.partition(":") for line in lines[2:])}
        counted = [(int(each[8]), int(each[0])) for name, each in fields.items() if name != LOOPBACK]
    except (OSError, IndexError, ValueError):
        return None, None
    return sum(sent for sent, _ in counted), sum(received for _, received in counted)
