"""What a rank needs of the fleet around it; ranks are named by their places."""

from __future__ import annotations

from abc import ABC, abstractmethod

from swarm.fleet.sequence import Sequence
from swarm.kvcache.match import Match
from swarm.kvcache.requests import Transfer


class Surroundings(ABC):
    """Moves KV for ranks, and finds the rank that goes on."""

    @abstractmethod
    def read(self, place: int, transfer: Transfer, sequence: Sequence, now_s: float) -> None:
        """Start a read, and count it with its sequence until it has landed."""

    @abstractmethod
    def holds_steps(self, place: int, tier_index: int) -> bool:
        """Return whether steps wait for reads from a tier, and not only the requests that are read for."""

    @abstractmethod
    def write(self, place: int, transfers: list[Transfer], now_s: float) -> None:
        """Start writes; may stall the rank."""

    @abstractmethod
    def receive(self, place: int, sequence: Sequence, tokens: int, now_s: float) -> bool:
        """Start the move of a prompt's KV to a decode rank; False where it has arrived at once."""

    @abstractmethod
    def watch_expiry(self, place: int) -> None:
        """Call the rank's `expire` when blocks have outlived a tier's TTL that another one keeps longer."""

    @abstractmethod
    def use_tokens(self, place: int, match: Match, now_s: float) -> int | None:
        """Return how much of a match to use, the rest being faster to compute; None for all."""

    @abstractmethod
    def prompt_s(self, place: int, match: Match, now_s: float) -> float:
        """Return about how long a rank takes to load what it will of a match, and to compute the rest."""

    @abstractmethod
    def receive_s(self, place: int, sender: int, tokens: int, now_s: float) -> float:
        """Return about how long the KV of so many tokens takes from one rank to another."""

    @abstractmethod
    def hand_over(self, sequence: Sequence, now_s: float) -> None:
        """Find the rank that decodes a sequence whose prompt is computed."""

    @abstractmethod
    def let_sender_go(self, sequence: Sequence, now_s: float) -> None:
        """The prefill rank of a sequence, if it has one, need not hold its KV any longer."""
