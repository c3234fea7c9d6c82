"""The processes of a run's hosts: started, waited for, told what to do, ended."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from swarm.config.experiment import HostsConfig
from swarm.errors import RunError
from swarm.live.clock import Clock
from swarm.live.directed_slots import Order
from swarm.live.driver.launcher import Call, HostProcess, Launcher, Outcome, Returned
from swarm.live.host_plan import HostPlan
from swarm.live.room import Room

READY_S_MAX = 300.0
"""How long the hosts that start with the run may take until all are ready."""
READY_POLL_S = 1.0
ROOM_S_MAX = 10.0
"""How long hosts may take to say what their nodes have."""


class HostProcesses:
    """The newest process of each host, and the calls by which they play."""

    def __init__(self, config: HostsConfig, launcher: Launcher) -> None:
        self._config = config
        self._launcher = launcher
        self._processes: dict[int, HostProcess] = {}
        self._playing: dict[Call, int] = {}

    @property
    def by_host(self) -> Mapping[int, HostProcess]:
        """The newest process of each host that was started."""
        return self._processes

    @property
    def are_playing(self) -> bool:
        """Whether a host has begun and not ended."""
        return bool(self._playing)

    def start(self, plan: HostPlan) -> None:
        """Start a host's process."""
        is_replacement = plan.host in self._processes
        self._processes[plan.host] = self._launcher.start_host(
            plan,
            # A replacement must find room on what is left of the cluster.
            cpus=0.0 if is_replacement else self._config.cpus_per_host,
            spreads=self._config.agents_per_host == 1 or self._config.subagents == "spread",
        )

    def wait_until_ready(self, clock: Clock, heed: Callable[[], None], note: Callable[[str], None]) -> None:
        """Return when all hosts are ready; call `heed` while they are not. Raises RunError."""
        hosts = {process.clock(): host for host, process in self._processes.items()}
        waiting: list[Call] = list(hosts)
        total, until_s = len(waiting), clock.monotonic_s() + READY_S_MAX
        while waiting:
            heed()
            if clock.monotonic_s() > until_s:
                raise RunError(
                    f"{len(waiting)} of {total} hosts were not ready within {READY_S_MAX:.0f} s; "
                    "has the cluster the CPUs that hosts.count x hosts.cpus_per_host ask for?"
                )
            ended = self._launcher.wait(waiting, READY_POLL_S)
            for call, outcome in ended.items():
                if not isinstance(outcome, Returned):
                    raise RunError(
                        f"host {hosts[call]} ended before the run began, which did not begin: no turn was "
                        f"sent; {outcome.why}; run it again, and if a host ends again, look for what ends "
                        "processes there, such as too little memory"
                    )
            waiting = [call for call in waiting if call not in ended]
            if ended and total > 1:
                note(f"hosts ready: {total - len(waiting)} of {total}")

    def rooms(self) -> dict[int, Room]:
        """Return what hosts that are ready find on their nodes; one that does not answer is left out."""
        calls = {process.room(): host for host, process in self._processes.items()}
        answers = self._launcher.wait(list(calls), ROOM_S_MAX) if calls else {}
        return {
            calls[call]: outcome.value for call, outcome in answers.items() if isinstance(outcome, Returned)
        }

    def begin(self, host: int, start_unix_s: float) -> None:
        """Let a host play; the run's time is 0 at `start_unix_s`."""
        self._playing[self._processes[host].run(start_unix_s)] = host

    def ended(self, within_s: float) -> list[tuple[int, Outcome]]:
        """Wait at most `within_s` seconds for all hosts; return those that ended, and how."""
        ended = self._launcher.wait(list(self._playing), within_s)
        return [(self._playing.pop(call), outcome) for call, outcome in ended.items()]

    def direct(self, order: Order) -> None:
        """Let all hosts open and close the slots of a search."""
        for process in self._processes.values():
            process.direct(order)

    def stop(self) -> None:
        """Let all hosts start no more turns."""
        for process in self._processes.values():
            process.stop()

    def forget(self, host: int) -> None:
        """Wait no longer for a host's end."""
        self._playing = {call: number for call, number in self._playing.items() if number != host}

    def kill(self, host: int, journals: Path) -> str | None:
        """End a host for certain and fetch its journal; return why the journal could not be fetched."""
        process = self._processes[host]
        process.kill()
        return process.fetch_journal(journals)
