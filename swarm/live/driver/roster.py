"""Which hosts run, which have gone quiet, and which may be replaced."""

from __future__ import annotations

from dataclasses import dataclass

START_S_MAX = 120.0
"""How long a host may take to its first report: a process has to start and import."""
REPLACEMENTS_MAX = 5
"""How often one host is replaced; what keeps killing it is no accident by then."""


@dataclass(slots=True)
class _Host:
    epoch: int
    heard_s: float
    sequence: int
    is_running: bool


class Roster:
    """Follows the hosts of a run. Times are seconds of any one clock."""

    def __init__(self, *, silent_max_s: float, epoch: int) -> None:
        self._silent_max_s = silent_max_s
        self._first_epoch = epoch
        self._hosts: dict[int, _Host] = {}

    @property
    def running(self) -> tuple[int, ...]:
        """The hosts that have not ended."""
        return tuple(number for number, host in self._hosts.items() if host.is_running)

    def epoch(self, host: int) -> int:
        """Return the host's epoch."""
        return self._hosts[host].epoch

    def start(self, host: int, now_s: float) -> int:
        """Note that a host runs, or that its replacement does; return its epoch."""
        known = self._hosts.get(host)
        epoch = self._first_epoch if known is None else known.epoch + 1
        self._hosts[host] = _Host(epoch, now_s, -1, True)
        return epoch

    def hear(self, heard: dict[int, tuple[int, int]], now_s: float) -> None:
        """Note the last batch of each host, as (epoch, sequence)."""
        for number, (epoch, sequence) in heard.items():
            host = self._hosts.get(number)
            if host is not None and epoch == host.epoch and sequence > host.sequence:
                host.sequence, host.heard_s = sequence, now_s

    def excuse(self, now_s: float) -> None:
        """Count every host as heard now: it was the coordinator that did not listen."""
        for host in self._hosts.values():
            host.heard_s = now_s

    def silent(self, now_s: float) -> tuple[int, ...]:
        """Return the hosts that run and have not been heard for too long."""
        return tuple(
            number
            for number, host in self._hosts.items()
            if host.is_running
            and now_s - host.heard_s
            > (self._silent_max_s if host.sequence >= 0 else max(START_S_MAX, self._silent_max_s))
        )

    def end(self, host: int) -> None:
        """Note that a host has ended, or is lost."""
        self._hosts[host].is_running = False

    def may_replace(self, host: int) -> bool:
        """Return whether a lost host gets one more epoch."""
        return self._hosts[host].epoch - self._first_epoch < REPLACEMENTS_MAX
