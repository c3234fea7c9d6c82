"""One request and its reply, as they passed."""

from __future__ import annotations

import marshal
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from swarm.capture.framing import Fields
from swarm.config.target import Api

Outcome: TypeAlias = Literal["ok", "client_gone", "upstream_gone", "unreachable", "malformed", "stopped"]
"""How an exchange ended on the wire; what the server said of its reply is read later."""

BODY_BYTES_MAX = 64 * 1024**2
"""Of a request or a reply that is kept to be read; longer ones pass, and are not read."""
ID_BYTES_MAX = 200
_APIS: tuple[tuple[bytes, Api], ...] = (
    (b"/chat/completions", "chat"),
    (b"/completions", "completions"),
    (b"/messages", "messages"),
    (b"/responses", "responses"),
)
SESSION = (b"x-claude-code-session-id",)
"""Headers that name a session, of several agents."""
AGENT = (
    b"x-claude-code-agent-id",
    b"thread-id",
    b"thread_id",
    b"x-session-id",
    b"session-id",
    b"session_id",
    b"conversation_id",
    b"x-opencode-session",
)
"""Headers that name one agent: Claude Code's, Codex's, Swarm's own and that of many SDKs."""
PARENT = (b"x-claude-code-parent-agent-id", b"x-codex-parent-thread-id", b"x-parent-session-id")
KIND = (b"x-openai-subagent",)
_OTHERS = (b"user-agent", b"content-type", b"content-encoding")
KEPT_HEADERS = frozenset((*SESSION, *AGENT, *PARENT, *KIND, *_OTHERS))
"""All that is kept of a request's headers: none of them holds a key."""
SECRET_HEADERS = (b"authorization", b"x-api-key", b"api-key", b"x-goog-api-key")
"""Who asks: told apart by a salted hash, which is not written."""


def api_of(method: bytes, target: bytes) -> Api | None:
    """Return the API that a request speaks, or None where it only passes."""
    if method != b"POST":
        return None
    path = target.partition(b"?")[0].rstrip(b"/")
    return next((api for ending, api in _APIS if path.endswith(ending)), None)


@dataclass(slots=True)
class Exchange:
    """What was seen of one exchange; times are `time.monotonic` seconds."""

    api: Api
    started_s: float
    """The request's first byte came."""
    started_unix_s: float
    headers: dict[bytes, bytes]
    """Those of `KEPT_HEADERS`, by lower-case name."""
    secret: bytes
    """Hashed, and forgotten, before anything else is done with it."""
    asked: list[bytes] = field(default_factory=list)
    """The request's body, without chunks' framing."""
    asked_s: float = 0.0
    """Its last byte came."""
    status: int = 0
    reply_headers: dict[bytes, bytes] = field(default_factory=dict)
    first_byte_s: float = 0.0
    replied: list[tuple[float, bytes]] = field(default_factory=list)
    """The reply's body by the reads that it came in."""
    ended_s: float = 0.0
    outcome: Outcome = "ok"
    is_whole: bool = True
    """Both bodies are kept from end to end."""

    def packed(self) -> list[bytes]:
        """Return it as bytes, in parts, for another process on this machine.

        The request's body is not copied: of a long prompt that takes longer than all else here.
        """
        values = {name: getattr(self, name) for name in self.__slots__}
        return [marshal.dumps({**values, "asked": sum(map(len, self.asked))}), *self.asked]

    @classmethod
    def unpacked(cls, data: bytes) -> Exchange:
        """Return what the parts that `packed` made are together; the request's body is one part of it."""
        values = marshal.loads(data)
        values["asked"] = [data[len(data) - values["asked"] :]] if values["asked"] else []
        return cls(**values)


def kept(fields: Fields) -> dict[bytes, bytes]:
    """Return the headers that are kept, the first of each name, cut to what an id may have."""
    found: dict[bytes, bytes] = {}
    for name, value in fields:
        lower = name.lower()
        if lower in KEPT_HEADERS:
            found.setdefault(lower, value[:ID_BYTES_MAX])
    return found


def secret(fields: Fields) -> bytes:
    """Return what a client shows to be let in."""
    return b"\0".join(value for name, value in fields if name.lower() in SECRET_HEADERS)
