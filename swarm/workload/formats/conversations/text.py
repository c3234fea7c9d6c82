"""Texts, messages and request bodies as contexts: what a format with words holds in tokens and blocks."""

from __future__ import annotations

from array import array
from collections.abc import Iterable
from typing import Any

import orjson

from swarm.errors import TraceError
from swarm.workload.formats.conversations.content import Content
from swarm.workload.formats.fields import SESSION_BLOCKS_MAX, TOO_MANY_BLOCKS, Fields, shown
from swarm.workload.formats.options import Options
from swarm.workload.recorded import RecordedRequest, RecordedSession, RecordedSubagent

READS = Options(block_tokens=16, rows="", bytes_per_token=4.0, settings=("block_tokens", "bytes_per_token"))
"""What files of words are read with, unless it is stated."""
MEDIA = ("image", "images", "audio", "audios", "video", "videos")
_TOKEN_BYTES = 8


class Held:
    """The block ids that a session's requests hold, each request its whole context: counted, and bounded.

    A file says a turn once, and every turn after it sends it again: ids grow with the square of the turns.
    """

    def __init__(self, ids: int = 0) -> None:
        self.ids = ids

    def take(self, fields: Fields, content: Content) -> None:
        """Count a context that is to be kept as it is now.

        Raises:
            TraceError: The session's contexts have more blocks together than are held.
        """
        self.add(fields, len(content.ids))

    def add(self, fields: Fields, ids: int) -> None:
        """Count so many ids more; raises as `take` does."""
        self.ids += ids
        if self.ids > SESSION_BLOCKS_MAX:
            raise fields.broken("", TOO_MANY_BLOCKS)


def request_of(
    content: Content, *, t_s: float, think_s: float | None, output_tokens: int, model: str = ""
) -> RecordedRequest:
    """Return the request that sends a context as it is now."""
    return RecordedRequest(
        t_s=t_s,
        model=model,
        streaming=True,
        input_tokens=content.tokens,
        output_tokens=output_tokens,
        hash_ids=content.ids[:],
        input_types=(),
        output_types=(),
        stop=None,
        api_s=None,
        think_s=think_s,
        ttft_s=None,
    )


def session_of(
    source: str,
    name: str,
    entries: Iterable[RecordedRequest | RecordedSubagent],
    options: Options,
    *,
    has_words: bool,
) -> RecordedSession:
    """Return a session whose ids come of content, and so mean the same in all sessions of its file."""
    return RecordedSession(
        id=name,
        source=source,
        namespace=f"global/{options.block_tokens}/{source}",
        block_tokens=options.block_tokens,
        tool_tokens=0,
        system_tokens=0,
        models=(),
        entries=tuple(entries),
        has_words=has_words,
    )


def delay_s(fields: Fields, name: str = "delay") -> float | None:
    """Return a delay in milliseconds as seconds."""
    value = fields.milliseconds_or_none(name)
    return None if value is None else value / 1000


def append_messages(content: Content, fields: Fields, options: Options) -> None:
    """Append the field `messages`, each with its role; what is no plain text counts as its JSON."""
    for index, message in enumerate(fields.objects("messages")):
        inside = Fields(fields.source, f"{fields.place}.messages[{index}]", message)
        role = inside.text("role")
        said = message.get("content")
        words = said if isinstance(said, str) else "".join(_words(inside, said))
        calls = message.get("tool_calls")
        if calls is not None:
            words += orjson.dumps(calls).decode()
        # The role is part of what a prefix must share, but takes no tokens of its own.
        content.mark(role)
        content.append_text(words.encode(errors="replace"), options.bytes_per_token)


def _words(fields: Fields, said: Any) -> list[str]:
    if said is None:
        return []
    if type(said) is not list:
        raise fields.broken("content", f"must be a text or a list of parts, got {shown(said)}")
    words = []
    for part in said:
        if type(part) is not dict or type(part.get("text")) is not str:
            raise fields.broken("content", f"holds a part that is no text ({shown(part)}): tokens unknown")
        words.append(part["text"])
    return words


def append_tools(content: Content, fields: Fields, options: Options) -> None:
    """Append tool definitions, which models put in front of all messages."""
    if fields.values.get("tools") is not None:
        content.mark("tools")
        content.append_text(orjson.dumps(fields.objects("tools")), options.bytes_per_token)


def payload_content(fields: Fields, options: Options) -> Content:
    """Return the context of a whole request body: `messages`, or `prompt` as text or token ids."""
    content = Content(options.block_tokens)
    append_tools(content, fields, options)
    if fields.values.get("messages") is not None:
        append_messages(content, fields, options)
        return content
    prompt = fields.values.get("prompt")
    if type(prompt) is str:
        content.append_text(prompt.encode(errors="replace"), options.bytes_per_token)
    elif type(prompt) is list:
        try:
            content.append_text(array("q", prompt).tobytes(), _TOKEN_BYTES)
        except (TypeError, OverflowError):
            raise fields.broken("prompt", "must be a text or a list of token ids") from None
    else:
        raise fields.broken("", "holds neither messages nor a prompt")
    return content


def payload_output(fields: Fields) -> int:
    """Return how many tokens a request body asks for."""
    for name in ("max_completion_tokens", "max_tokens", "max_output_tokens"):
        if fields.values.get(name) is not None:
            return fields.count(name)
    return 0


def turn_text(fields: Fields) -> bytes:
    """Return the words of a turn: `text`, or `texts` one after another; other media are refused."""
    for name in MEDIA:
        if fields.values.get(name):
            raise fields.broken(name, "is no text; how many tokens it takes is not known")
    words = [fields.text("text")] if fields.values.get("text") is not None else []
    if fields.values.get("texts") is not None:
        for part in fields.objects("texts"):
            words += _contents(fields, part)
    if not words:
        raise fields.broken("", "holds neither text nor texts")
    return "\n".join(words).encode(errors="replace")


def _contents(fields: Fields, part: Any) -> list[str]:
    contents = part.get("contents") if type(part) is dict else [part]
    if type(contents) is not list or not all(type(each) is str for each in contents):
        raise fields.broken("texts", "must hold texts, or objects with a list `contents` of texts")
    return contents


def unknown(fields: Fields, name: str, known: str) -> TraceError:
    """Return the error of a name that stands nowhere else in the file."""
    return fields.broken(name, f"names {known!r}, which the file does not hold")
