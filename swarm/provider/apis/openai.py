"""What chat and completions have in common: settings, usage, the events of a stream."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

from swarm.provider.api_request import Format, Members, check_sampling
from swarm.provider.apis.api import Story
from swarm.provider.apis.events import DONE, END, ID_MARK, TEXT_MARK, event, framed, template
from swarm.provider.content import Body, Json
from swarm.provider.fingerprints import TOKEN_BYTES
from swarm.provider.limits import ServerLimits
from swarm.provider.refusal import invalid
from swarm.provider.replies.prose import ID_BYTES
from swarm.provider.replies.reply import Reply
from swarm.provider.replies.schema import SchemaFault, check

ID_DIGITS = ID_BYTES - 1


def settings_of(members: Members, limits: ServerLimits) -> Json:
    """Return the settings that chat and completions share, as members of an `Ask`; raises `Fault`."""
    check_sampling(members)
    streams = members.flag("stream")
    options = members.object("stream_options")
    if options is not None and not streams:
        raise invalid("stream_options: only allowed when stream is true", "stream_options")
    count = members.count("n", 1, limits.replies_max) or 1
    if members.count("best_of", 1, limits.replies_max) not in (None, count):
        raise invalid(f"best_of: every reply is given, so that it must be n, which is {count}", "best_of")
    seed = members.count("seed", -(2**63), 2**63)
    wanted = members.sub("stream_options", options or {})
    with_usage = wanted.flag("include_usage")
    return {
        "salt": members.text("cache_salt"),
        "count": count,
        "streams": streams,
        "with_usage": with_usage,
        "with_progress": wanted.flag("continuous_usage_stats") and with_usage,
        "stops": members.texts("stop"),
        "seed": seed,
    }


def guided(body: Body, members: Members) -> Format | None:
    """Return the form that vLLM's own members ask for."""
    known = members.object("structured_outputs") or {}
    for member, where, names in (
        ("structured_outputs", known, {"json": "json", "choice": "choice", "object": "json_object"}),
        ("guided", body.members, {"json": "guided_json", "choice": "guided_choice", "object": "-"}),
    ):
        if where.get(names["json"]) is not None:
            return format_of(body, where[names["json"]], member)
        if where.get(names["choice"]) is not None:
            texts = Members(where).texts(names["choice"])
            return Format(choices=texts, member=member) if texts else None
        if where.get(names["object"]):
            return Format(schema={"type": "object"}, member=member)
    for name in ("regex", "grammar", "structural_tag"):
        if known.get(name) is not None or body.members.get(f"guided_{name}") is not None:
            raise invalid(f"{name}: the emulated model follows JSON schemas and choices alone", name)
    return None


def format_of(body: Body, schema: object, member: str) -> Format:
    """Return the form of a JSON schema; raises `Fault`."""
    schema = body.plain(schema)
    if not isinstance(schema, dict):
        raise invalid(f"{member}: a JSON schema is expected", member)
    try:
        check(schema)
    except SchemaFault as fault:
        raise invalid(f"{member}: {fault}", member) from None
    return Format(schema=schema, member=member)


def usage(story: Story) -> Json:
    """Return the tokens of a request that has ended."""
    uses = story.uses
    prompt_tokens, output_tokens = sum(use.prompt_tokens for use in uses), story.output_tokens
    return {
        "prompt_tokens": prompt_tokens,
        "completion_tokens": output_tokens,
        "total_tokens": prompt_tokens + output_tokens,
        "prompt_tokens_details": {
            "cached_tokens": sum(use.cached_tokens for use in uses),
            **told_apart(story),
        },
    }


def told_apart(story: Story) -> Json:
    """Return what no real server tells: hits by tier and losses by cause, in the order of the run folder."""
    uses = story.uses
    if len(uses) == 1:
        return {"cached_tokens_by_tier": uses[0].by_tier, "lost_tokens_by_cause": uses[0].lost_to}
    return {
        "cached_tokens_by_tier": [sum(parts) for parts in zip(*(use.by_tier for use in uses), strict=True)],
        "lost_tokens_by_cause": [sum(parts) for parts in zip(*(use.lost_to for use in uses), strict=True)],
    }


class Chunks(ABC):
    """The events of chat and completions, which differ in their choices alone."""

    def __init__(self, story: Story, head: Json) -> None:
        self._story = story
        self._head = head
        self._with_ids = story.ask.with_ids
        self._templates: list[bytes | None] = [None] * len(story.replies)
        """By place: how an event of one plain word is made, once one was."""
        self._plain_tokens = [_plain_tokens(reply, story) for reply in story.replies]
        self._told = 0, 0
        """Place and tokens of the reply that an event is of, up to and with it."""

    @abstractmethod
    def choice(self, place: int, text: str, reason: str | None) -> Json:
        """Return a choice that tells of text."""

    @abstractmethod
    def chances(self, reply: Reply, start: int, end: int) -> Any:
        """Return the log-probabilities of tokens, in the API's shape."""

    def opening(self) -> bytes:
        """Return nothing: the first event comes with the first token."""
        return b""

    def first(self, place: int) -> bytes:
        """Return nothing."""
        return b""

    def tokens(self, place: int, start: int, end: int) -> bytes:
        """Return the events of the tokens [start, end)."""
        made = self._templates[place]
        if made is None or end > self._plain_tokens[place]:
            return self._slowly(place, start, end)
        reply = self._story.replies[place]
        if end - start == 1:
            return self._token(made, reply, start)
        return b"".join([self._token(made, reply, at) for at in range(start, end)])

    def last(self, place: int) -> bytes:
        """Return the event with the reason why a reply ended."""
        reply = self._story.replies[place]
        self._told = place, reply.tokens
        choice = self.choice(place, "", reply.finish)
        if reply.stop is not None:
            choice["stop_reason"] = reply.stop
        return self.chunk(choice)

    def closing(self) -> bytes:
        """Return the usage, if asked for, and the end."""
        story = self._story
        told = self.chunk(None, usage(story)) if story.ask.with_usage else b""
        return told + framed(DONE, story.is_chunked) + (END if story.is_chunked else b"")

    def failed(self, message: str) -> bytes:
        """Return an error as the last event."""
        error = {"message": message, "type": "server_error", "param": None, "code": "fleet_broken"}
        return framed(event({"error": error}), self._story.is_chunked)

    def chunk(self, choice: Json | None, found: Json | None = None) -> bytes:
        """Return an event."""
        return framed(event(self._message(choice, found)), self._story.is_chunked)

    def _message(self, choice: Json | None, found: Json | None) -> Json:
        message: Json = {**self._head, "choices": [] if choice is None else [choice]}
        ask = self._story.ask
        if ask.with_usage:
            message["usage"] = self._progress() if choice is not None and ask.with_progress else found
        return message

    def _progress(self) -> Json:
        """Return the tokens of one reply so far."""
        place, told = self._told
        prompt_tokens = self._story.caches[place].prompt_tokens
        return {
            "prompt_tokens": prompt_tokens,
            "completion_tokens": told,
            "total_tokens": prompt_tokens + told,
        }

    def _slowly(self, place: int, start: int, end: int) -> bytes:
        """Return events where no template is made yet, or some hold more, or less, than a plain word."""
        if end <= self._plain_tokens[place]:
            self._templates[place] = self._template(place)
            return self.tokens(place, start, end)
        reply = self._story.replies[place]
        return b"".join([self.one(place, reply, at) for at in range(start, end)])

    def one(self, place: int, reply: Reply, at: int) -> bytes:
        """Return the event of one token, whatever it is."""
        text = reply.piece(at, at + 1)
        if not text:
            return b""
        self._told = place, at + 1
        choice = self.choice(place, text.decode(), None)
        if self._story.ask.logprobs is not None:
            choice["logprobs"] = self.chances(reply, at, at + 1)
        if self._with_ids:
            choice["token_ids"] = [reply.id_at(at)]
        return self.chunk(choice)

    def _token(self, made: bytes, reply: Reply, at: int) -> bytes:
        text = reply.text[TOKEN_BYTES * at : TOKEN_BYTES * at + TOKEN_BYTES]
        if self._with_ids:
            return made % (text, reply.ids[ID_BYTES * at : ID_BYTES * at + ID_DIGITS])
        return made % text

    def _template(self, place: int) -> bytes:
        choice = self.choice(place, TEXT_MARK, None)
        digits = 0
        if self._with_ids:
            choice["token_ids"] = [ID_MARK]
            digits = ID_DIGITS
        data = event(self._message(choice, None))
        return template(data, self._story.is_chunked, text_bytes=TOKEN_BYTES, id_digits=digits)


def _plain_tokens(reply: Reply, story: Story) -> int:
    """Return how many of a reply's tokens are told as plain words."""
    # Real ids have no width that a template could know.
    ask = story.ask
    is_plain = reply.is_prose and ask.logprobs is None and not (ask.with_ids and reply.coded)
    is_plain = is_plain and not ask.with_progress
    return reply.shown_bytes // TOKEN_BYTES if is_plain else 0


def head_of(story: Story, kind: str, prefix: str) -> Json:
    """Return what all events and bodies of an answer repeat."""
    return {
        "id": f"{prefix}-{story.number}",
        "object": kind,
        "created": story.created_unix_s,
        "model": story.model,
    }
