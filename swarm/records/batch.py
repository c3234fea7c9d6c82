"""What a host reports: a numbered batch of rows, places and gauges, never doubled and never lost unseen."""

from __future__ import annotations

from base64 import b64decode, b64encode
from dataclasses import dataclass, fields

import orjson


@dataclass(frozen=True, slots=True)
class Place:
    """A node of the context tree on the path of a prompt that was sent, by name."""

    name: str
    parent: str | None
    start: int


@dataclass(frozen=True, slots=True)
class AgentStep:
    """An agent's start (+1) or end (-1)."""

    at_s: float
    change: int
    is_orchestrator: bool
    agent: str | None
    """Its path: an agent that goes on after its host was lost is no new one. None where nothing is lost."""
    finished: bool
    """Of an end: the program returned; otherwise the run stopped it."""


@dataclass(frozen=True, slots=True)
class Gauges:
    """A host's state at one moment; counts are since its start."""

    at_s: float
    sessions_started: int
    sessions_finished: int
    open_requests: int
    sent: int
    cpu_s: float
    """CPU time of the host's process."""
    cpu_wait_s: float | None
    """Time that the event loop's thread was ready and had no core; None where it is not known."""
    put_off_s: float
    """By how much sessions started late because the host was behind, summed over them."""
    sent_bytes: int | None = None
    """By all network devices of the host's node but its loopback; None where it is not known."""
    received_bytes: int | None = None
    ended: int = 0
    failed: int = 0
    """Of those that ended, without those that the run's end cut off."""
    spent_tokens: float = 0.0
    spent_cost: float = 0.0
    """Of the run's budget, with what is set aside for open requests."""
    skipped_s: float = 0.0
    """Time without anything in flight that was skipped."""
    is_spent: bool = False
    """Whether the host's share of the budget is gone: it starts no more turns."""


@dataclass(frozen=True, slots=True)
class FailureExample:
    """What a server, or the way to it, said to a request that failed; secrets are blotted out."""

    error_class: str
    status: int | None
    """Of the HTTP response, if there was one."""
    words: str


GAUGES = tuple(field.name for field in fields(Gauges))


@dataclass(frozen=True, slots=True)
class Batch:
    """One report of one host. (host, epoch, sequence) names it; a receiver takes each name once."""

    host: int
    epoch: int
    sequence: int
    is_last: bool
    """The host has ended: nothing that it did is unreported."""
    rows: bytes
    """Arrow IPC stream of the rows that ended since the last batch, then of `open_rows` provisional ones."""
    open_rows: int
    """Requests that were sent since the last batch and are still open: their rows if no more is heard."""
    windows: bytes
    places: tuple[Place, ...]
    """Nodes sent for the first time by this host."""
    agents: tuple[AgentStep, ...]
    """Starts and ends of agents since the last batch."""
    itl: bytes
    """Sketch of the gaps between deltas of measured requests since the last batch."""
    loop_lag: bytes
    """Sketch of the event loop's lags since the last batch."""
    gauges: Gauges
    sessions_ended: tuple[tuple[str, float], ...]
    """Sessions that came to their own end since the last batch, and when."""
    follows: tuple[int, ...]
    """For each earlier epoch of the host, its last batch that counts; -1 where none does."""
    faults: tuple[str, ...]
    """What went wrong on the host since the last batch, in words."""
    examples: tuple[FailureExample, ...] = ()
    """The first few failed requests of each class on the host."""
    doubts: tuple[tuple[str, int], ...] = ()
    """Why counts of the server were treated as unknown since the last batch, and in how many requests."""
    begun_s: float = 0.0
    """When this epoch of the host began to run agents; 0 where a journal does not say."""
    program_failed: bool = False
    """A program has broken a rule on the host by now, which no other host can mend."""
    refusal: str = ""
    """Why the host's own journal refuses writes by now, and since when: only the coordinator's may have this
    batch. Empty while it does not."""

    due: int = 0
    """Of a host's first batch: how many of its sessions are to play before the next one."""
    waiting: int = 0
    """How many earlier batches nobody had acknowledged when this one was made."""
    failures: tuple[tuple[str, int], ...] = ()
    """Classes of the requests that failed since the last batch, and how many of each."""
    good: int = 0
    """Requests that finished within every objective since the last batch."""
    skips: tuple[tuple[float, float], ...] = ()
    """When time was skipped since the last batch, and how much."""

    def frame(self) -> bytes:
        """Return the batch for a journal; windows are left out, as the rows hold what they say."""
        head = orjson.dumps(
            {
                "host": self.host,
                "epoch": self.epoch,
                "sequence": self.sequence,
                "is_last": self.is_last,
                "places": [(place.name, place.parent, place.start) for place in self.places],
                "agents": [
                    (step.at_s, step.change, step.is_orchestrator, step.agent, step.finished)
                    for step in self.agents
                ],
                "itl": b64encode(self.itl).decode(),
                "loop_lag": b64encode(self.loop_lag).decode(),
                "gauges": {name: getattr(self.gauges, name) for name in GAUGES},
                "open_rows": self.open_rows,
                "sessions_ended": self.sessions_ended,
                "follows": self.follows,
                "faults": self.faults,
                "examples": [(each.error_class, each.status, each.words) for each in self.examples],
                "doubts": self.doubts,
                "begun_s": self.begun_s,
                "program_failed": self.program_failed,
                "refusal": self.refusal,
                "due": self.due,
                "waiting": self.waiting,
                "failures": self.failures,
                "good": self.good,
                "skips": self.skips,
            }
        )
        return len(head).to_bytes(4, "little") + head + self.rows

    @classmethod
    def of_frame(cls, frame: bytes) -> Batch:
        """Return the batch of a journal's frame."""
        rows_at = 4 + int.from_bytes(frame[:4], "little")
        head = orjson.loads(frame[4:rows_at])
        return cls(
            host=head["host"],
            epoch=head["epoch"],
            sequence=head["sequence"],
            is_last=head["is_last"],
            rows=frame[rows_at:],
            windows=b"",
            places=tuple(Place(*place) for place in head["places"]),
            agents=tuple(AgentStep(*step) for step in head["agents"]),
            itl=b64decode(head["itl"]),
            loop_lag=b64decode(head["loop_lag"]),
            gauges=Gauges(**head["gauges"]),
            open_rows=head["open_rows"],
            sessions_ended=tuple((name, at_s) for name, at_s in head["sessions_ended"]),
            follows=tuple(head["follows"]),
            faults=tuple(head["faults"]),
            examples=tuple(FailureExample(*each) for each in head.get("examples", ())),
            doubts=tuple((name, count) for name, count in head.get("doubts", ())),
            begun_s=head.get("begun_s", 0.0),
            program_failed=head.get("program_failed", False),
            refusal=head.get("refusal", ""),
            due=head.get("due", 0),
            waiting=head.get("waiting", 0),
            failures=tuple((name, count) for name, count in head.get("failures", ())),
            good=head.get("good", 0),
            skips=tuple((at_s, seconds) for at_s, seconds in head.get("skips", ())),
        )
