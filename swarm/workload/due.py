"""The due-clock of one agent: what each effect does to it, the same in both interpreters."""

from swarm.workload.effects import Think


class DueClock:
    """When an agent's next effect is due, in seconds of the run; only skipped time moves it backward."""

    __slots__ = ("completed_s", "due_s", "intended_s")

    def __init__(self, start_s: float) -> None:
        self.due_s = start_s
        self.intended_s = start_s
        self.completed_s = start_s

    def think(self, effect: Think) -> None:
        """Move on by the think time, counted from what the effect says."""
        if effect.since == "now":
            self.due_s += effect.seconds
            return
        anchor = self.completed_s if effect.since == "completed" else self.intended_s
        self.due_s = max(self.due_s, anchor + effect.seconds)

    def intend(self) -> float:
        """Return the time at which a request is intended, which is now due."""
        self.intended_s = self.due_s
        return self.due_s

    def complete(self, completed_s: float) -> None:
        """Note that the request ended."""
        self.completed_s = completed_s
        self.due_s = max(self.due_s, completed_s)

    def resume(self, at_s: float) -> None:
        """Go on at `at_s` after the host was lost: the target is not to blame for what was due before."""
        self.due_s = max(self.due_s, at_s)

    def advance(self, seconds: float) -> None:
        """Let what is due come sooner: that much time is skipped."""
        self.due_s -= seconds
        self.intended_s -= seconds
        self.completed_s -= seconds

    def join(self, ended_s: float) -> None:
        """Wait for a child that ended at `ended_s`."""
        self.due_s = max(self.due_s, ended_s)
