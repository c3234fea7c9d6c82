"""Who is shown how a run goes on."""

from typing import Protocol

from swarm.live.coordinator import Snapshot


class RunProgress(Protocol):
    """A terminal, metrics, or a test."""

    def show(self, snapshot: Snapshot) -> None:
        """Show the run's state as last reported."""

    def note(self, text: str) -> None:
        """Show that something happened."""
