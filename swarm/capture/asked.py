"""What the body of a request says: whose it is, what came before it, hashes of its words."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import orjson

from swarm.capture.exchange import ID_BYTES_MAX
from swarm.config.target import Api
from swarm.workload.formats.agent_logs.bodies import SYSTEM_HEAD, messages_of, opened_by
from swarm.workload.formats.agent_logs.claude_code import NOTICES
from swarm.workload.formats.agent_logs.content import Content, content_of, hashed
from swarm.workload.formats.agent_logs.documents import first_of, inside, text
from swarm.workload.formats.agent_logs.logged import OpenedBy

MODEL_CHARACTERS_MAX = 256
TEXT_LEAST = 8
"""Shorter texts are equal by chance: a sub-agent is told by one only while the call that holds it is open."""
_SESSION_MARK = "session_"


@dataclass(frozen=True, slots=True)
class Asked:
    """A request, understood; nothing of it is words."""

    model: str
    session: str
    """As the body names it; empty where it does not."""
    opened_by: OpenedBy
    messages: int
    is_first: bool
    """Nothing that the model said is in it."""
    continues: str
    """The id of the response that it goes on from, whose words the server keeps."""
    content: Content | None
    """None where words are missing from it, that the server keeps."""
    head: int
    """A hash of how the system prompt begins, and of the first message."""
    openings: tuple[tuple[int, bool], ...]
    """Hashes of the first message's texts, and whether each is long enough to be no one else's."""


def asked_of(api: Api, body: bytes, salt: bytes) -> Asked | None:
    """Return what a request says, or None where it is no JSON object."""
    try:
        said = orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
    if type(said) is not dict:
        return None
    if api == "completions":
        messages: list[Any] = [said.get("prompt")]
    else:
        messages = messages_of(said)
    system = [first_of(said, "tools"), first_of(said, "system", "instructions")]
    rest = [each for each in messages if text(each, "role") not in ("system", "developer")]
    told = system[1] if system[1] is not None else [each for each in messages if each not in rest]
    first = rest[0] if rest else None
    texts = [words.strip() for words in texts_of(first)]
    openings = tuple((hashed(words, salt), len(words) >= TEXT_LEAST) for words in texts if words)
    continues = text(said, "previous_response_id")
    is_kept = bool(continues or said.get("conversation"))
    parts = [*(each for each in system if each is not None), *messages]
    return Asked(
        model=text(said, "model")[:MODEL_CHARACTERS_MAX],
        session=_session(said),
        opened_by=_opened(rest),
        messages=len(messages),
        is_first=not continues and not any(_is_of_model(each) for each in rest),
        continues=continues,
        content=None if is_kept else content_of(parts, salt),
        head=hashed(str(told)[:SYSTEM_HEAD] + "\0" + "\0".join(texts_of(first)), salt),
        openings=openings,
    )


def texts_of(message: Any) -> Iterator[str]:
    """Yield the texts of a message, in any API's shape."""
    content = message.get("content") if type(message) is dict else message
    if type(content) is str:
        yield content
    elif type(content) is list:
        for part in content:
            if type(part) is str:
                yield part
            elif words := text(part, "text"):
                yield words


def _opened(messages: list[Any]) -> OpenedBy:
    found = opened_by(messages)
    if found == "human" and all(words.lstrip().startswith(NOTICES) for words in texts_of(messages[-1])):
        return "notice"
    return found


def _is_of_model(message: Any) -> bool:
    return text(message, "role") == "assistant" or text(message, "type") in ("function_call", "reasoning")


def _session(said: dict[str, Any]) -> str:
    """Return the session that Claude Code puts into its user's id, as JSON or behind a mark."""
    user = inside(said, "metadata", "user_id")
    found = text(user, "session_id")
    if not found and type(user) is str and _SESSION_MARK in user:
        found = user.rpartition(_SESSION_MARK)[2]
    return found[:ID_BYTES_MAX]
