"""Machines of one machine: network namespaces on a bridge, each with its own address, cable and disk.

Needs root, `ip`, `tc` and `iptables`; a long cable needs /dev/net/tun. Everything is named `swn-PID-*`, and
gone with `Net.close`. Run as a program it is the cable itself: two TAP devices, and frames held back between
them.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import select
import shutil
import signal
import struct
import subprocess
import sys
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

NETWORK = "10.77.0"
PREFIX = f"swn-{os.getpid()}"
SWITCH = f"{PREFIX}-switch"
BRIDGE = "swn-br"
CLONE_NEWNET = 0x40000000
TUNSETIFF, IFF_TAP, IFF_NO_PI = 0x400454CA, 0x0002, 0x1000
GONE_S_MAX = 10.0


def missing() -> list[str]:
    """Return what this machine lacks to be several."""
    lacks = [name for name in ("ip", "tc", "iptables", "unshare") if shutil.which(name) is None]
    if os.geteuid() != 0:
        lacks.append("root")
    elif subprocess.run(["ip", "netns", "add", f"{PREFIX}-probe"], capture_output=True).returncode:
        lacks.append("the right to make network namespaces (CAP_NET_ADMIN, CAP_SYS_ADMIN)")
    else:
        do("ip", "netns", "del", f"{PREFIX}-probe")
    return lacks


def do(*command: str) -> str:
    """Run a command to its end; return what it says. What fails ends the program with its words."""
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    if ended.returncode:
        raise SystemExit(f"{' '.join(command)}: {ended.stderr.strip() or ended.stdout.strip()}")
    return ended.stdout


class Node:
    """One machine: a network namespace, and processes that see a /tmp of their own."""

    def __init__(self, name: str, number: int) -> None:
        self.name = name
        self.namespace = f"{PREFIX}-{name}"
        self.address = f"{NETWORK}.{number}"
        self.port = f"swn-p{number}"
        """Its end of the cable at the switch."""
        self.processes: list[subprocess.Popen[bytes]] = []

    def start(
        self, command: Sequence[str], environment: Mapping[str, str], log: Path, disk: Path | None = None
    ) -> subprocess.Popen[bytes]:
        """Start a process on this machine; `disk` is what it sees as /tmp, else one of its own in memory."""
        mount = "mount -t tmpfs tmpfs /tmp" if disk is None else f"mount --bind {disk} /tmp"
        inner = ["unshare", "--mount", "sh", "-c", f'{mount} && cd /tmp && exec "$@"', "sh", *command]
        with log.open("ab") as file:
            process = subprocess.Popen(
                ["ip", "netns", "exec", self.namespace, *inner],
                env=dict(environment),
                stdout=file,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
            )
        self.processes.append(process)
        return process

    def pids(self) -> list[int]:
        """Return the processes that run on it."""
        return [int(pid) for pid in do("ip", "netns", "pids", self.namespace).split()]

    def kill(self) -> None:
        """End it as machines end: at once, with all that runs there."""
        until_s = time.monotonic() + GONE_S_MAX
        while (pids := self.pids()) and time.monotonic() < until_s:
            for pid in pids:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(0.05)
        for process in self.processes:
            process.wait()
        self.processes.clear()

    def shape(self, mbit: float) -> None:
        """Bound what it sends and what it is sent, in Mbit/s."""
        for namespace, device in ((self.namespace, "eth0"), (SWITCH, self.port)):
            rule = ("root", "tbf", "rate", f"{mbit}mbit", "burst", "256kb", "latency", "400ms")
            do("tc", "-n", namespace, "qdisc", "replace", "dev", device, *rule)

    def lose(self, share: float) -> None:
        """Drop a share of the packets that come to it."""
        self._rule("INPUT", "-i", "eth0", *f"-m statistic --mode random --probability {share}".split())

    def part(self, *addresses: str) -> None:
        """Drop all that goes between it and other machines, or between it and some."""
        for chain, direction, device in (("INPUT", "-s", "-i"), ("OUTPUT", "-d", "-o")):
            for address in addresses or (f"{NETWORK}.0/24",):
                self._rule(chain, device, "eth0", direction, address)

    def heal(self) -> None:
        """Drop nothing more."""
        do("ip", "netns", "exec", self.namespace, "iptables", "-F")

    def received_bytes(self) -> tuple[int, int]:
        """Return what has come to it over its cable, and what it has sent, in bytes."""
        said = do("ip", "netns", "exec", self.namespace, "cat", "/proc/net/dev")
        fields = next(line for line in said.splitlines() if "eth0:" in line).split(":")[1].split()
        return int(fields[0]), int(fields[8])

    def _rule(self, chain: str, *rule: str) -> None:
        do("ip", "netns", "exec", self.namespace, "iptables", "-A", chain, *rule, "-j", "DROP")


class Net:
    """A switch and the machines on it."""

    def __init__(self) -> None:
        self.nodes: dict[str, Node] = {}
        self._cables: list[subprocess.Popen[bytes]] = []
        do("ip", "netns", "add", SWITCH)
        do("ip", "-n", SWITCH, "link", "add", BRIDGE, "type", "bridge")
        do("ip", "-n", SWITCH, "link", "set", BRIDGE, "up")

    def add(self, name: str, *, delay_s: float = 0.0) -> Node:
        """Add a machine; a cable with a delay holds every frame back for so long, either way."""
        node = Node(name, 10 + len(self.nodes))
        do("ip", "netns", "add", node.namespace)
        if delay_s:
            self._cables.append(
                subprocess.Popen(
                    [sys.executable, __file__, node.namespace, "eth0", SWITCH, node.port, str(delay_s)]
                )
            )
            self._wait_for(node)
        else:
            veth = ("eth0", "netns", node.namespace, "type", "veth", "peer", "name", node.port)
            do("ip", "link", "add", "name", *veth, "netns", SWITCH)
        do("ip", "-n", SWITCH, "link", "set", node.port, "master", BRIDGE, "up")
        do("ip", "-n", node.namespace, "addr", "add", f"{node.address}/24", "dev", "eth0")
        for device in ("lo", "eth0"):
            do("ip", "-n", node.namespace, "link", "set", device, "up")
        self.nodes[name] = node
        return node

    def close(self) -> None:
        """End every machine and the switch."""
        for node in self.nodes.values():
            node.kill()
        for cable in self._cables:
            cable.kill()
            cable.wait()
        for name in (*(node.namespace for node in self.nodes.values()), SWITCH):
            do("ip", "netns", "del", name)

    @staticmethod
    def _wait_for(node: Node) -> None:
        until_s = time.monotonic() + GONE_S_MAX
        while time.monotonic() < until_s:
            if node.port in do("ip", "-n", SWITCH, "-br", "link"):
                return
            time.sleep(0.05)
        raise SystemExit(f"no cable to {node.name}: is /dev/net/tun there?")


def cable(ends: Sequence[tuple[str, str]], delay_s: float) -> None:
    """Carry frames between two TAP devices, given as (namespace, device), each `delay_s` after it came."""
    one, other = (_tap(*end) for end in ends)
    beyond = {one: other, other: one}
    waiting: deque[tuple[float, int, bytes]] = deque()
    while True:
        left_s = max(0.0, waiting[0][0] - time.monotonic()) if waiting else None
        ready, _, _ = select.select([one, other], [], [], left_s)
        now_s = time.monotonic()
        waiting.extend((now_s + delay_s, beyond[end], os.read(end, 1 << 16)) for end in ready)
        while waiting and waiting[0][0] <= now_s:
            _, end, frame = waiting.popleft()
            # A device that is down takes nothing: the frame is lost, as in a cable that is pulled.
            with suppress(OSError):
                os.write(end, frame)


@contextmanager
def standing_in(node: Node) -> Iterator[None]:
    """Have this thread's connections, and the processes that it starts, on a machine."""
    before = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    try:
        _enter(os.open(f"/run/netns/{node.namespace}", os.O_RDONLY))
        yield
    finally:
        _enter(before)


def _enter(place: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.setns(place, CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "setns")
    os.close(place)


def _tap(namespace: str, device: str) -> int:
    """Return a new TAP device of a namespace, open."""
    _enter(os.open(f"/run/netns/{namespace}", os.O_RDONLY))
    tap = os.open("/dev/net/tun", os.O_RDWR)
    fcntl.ioctl(tap, TUNSETIFF, struct.pack("16sH22x", device.encode(), IFF_TAP | IFF_NO_PI))
    return tap


if __name__ == "__main__":
    here, mine, there, theirs, seconds = sys.argv[1:]
    cable(((here, mine), (there, theirs)), float(seconds))
