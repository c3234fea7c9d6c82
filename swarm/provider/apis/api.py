"""What an API is to the server: a reader, a writer of streams, a writer of whole answers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from swarm.fleet.events import CacheUse
from swarm.provider.api_request import ApiRequest
from swarm.provider.content import Body, Content, Writer
from swarm.provider.limits import ServerLimits
from swarm.provider.refusal import Style
from swarm.provider.replies.reply import Reply
from swarm.provider.tokens import Tokenizer

NO_USE = CacheUse(0, 0, 0, (), ())


@dataclass(frozen=True, slots=True)
class Rules:
    """By what requests are read."""

    limits: ServerLimits
    template_tokens: int
    """That each message costs beside its content."""
    past: Past
    """What earlier answers continue, by their ids."""
    tokenizer: Tokenizer
    cacheable_least: Callable[[str], int]
    """By a model's name: prompt tokens up to a breakpoint below which it is ignored."""

    def writer(self, body: Body) -> Writer:
        """Return what puts the content of a body's prompt together."""
        return Writer(body, self.template_tokens, self.tokenizer)


class Past(Protocol):
    """Answers that were kept."""

    def content(self, answer_id: str) -> Content:
        """Return what was said up to an answer's end; raises `Fault`."""


@dataclass(slots=True)
class Story:
    """Everything that an answer is written from; replies of one prompt are neighbours."""

    ask: ApiRequest
    replies: list[Reply]
    number: int
    """Of the request, by which its answer is called."""
    created_unix_s: int
    model: str
    is_chunked: bool
    caches: list[CacheUse] = field(default_factory=list)
    """How each reply's prompt was met, once its first token is there."""

    def __post_init__(self) -> None:
        self.caches = [NO_USE] * len(self.replies)

    @property
    def uses(self) -> list[CacheUse]:
        """How each prompt was met: by its first reply, as the others found what that one left."""
        return self.caches[:: self.ask.count]

    @property
    def output_tokens(self) -> int:
        """Tokens of all replies."""
        return sum(reply.tokens for reply in self.replies)


class Stream(Protocol):
    """Writes an answer event by event."""

    def opening(self) -> bytes:
        """Return what is sent before any token is there."""

    def first(self, place: int) -> bytes:
        """Return what comes before the first token of a reply."""

    def tokens(self, place: int, start: int, end: int) -> bytes:
        """Return the events of a reply's tokens [start, end)."""

    def last(self, place: int) -> bytes:
        """Return what follows the last token of a reply."""

    def closing(self) -> bytes:
        """Return what follows the last reply."""

    def failed(self, message: str) -> bytes:
        """Return the event that says that no more follows."""


@dataclass(frozen=True, slots=True)
class Api:
    """One path that makes replies."""

    read: Callable[[bytes, Rules], ApiRequest]
    """Raises `Fault`."""
    stream: Callable[[Story], Stream]
    whole: Callable[[Story], bytes]
    style: Style = "openai"
