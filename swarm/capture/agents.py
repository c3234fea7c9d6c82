"""Who asks: sessions and agents, by what headers name, or by whose prompt a prompt goes on from.

An agent is a chain of requests, one after the other, each of which begins with the one before it. A sub-agent
begins with a text that another agent gave to a tool.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from swarm.capture.asked import Asked
from swarm.capture.exchange import AGENT, KIND, PARENT, SESSION
from swarm.workload.formats.agent_logs.content import hashed

REMEMBERED_MAX = 20_000
"""Chains, their ends and texts of calls that are remembered; the oldest are forgotten first."""
_KINDS = ("subagent_type", "agent_type", "agent", "agent_name")
"""Arguments of a call that name a kind of agent."""
_DEPTH_MAX = 8
_Key = TypeVar("_Key")
_Value = TypeVar("_Value")


class Remembered(OrderedDict[_Key, _Value], Generic[_Key, _Value]):
    """A dict of the newest entries."""

    def put(self, key: _Key, value: _Value) -> None:
        """Remember a value as the newest."""
        self[key] = value
        self.move_to_end(key)
        if len(self) > REMEMBERED_MAX:
            self.popitem(last=False)


@dataclass(frozen=True, slots=True)
class Whose:
    """Whose a request is."""

    session: str
    """As the client names it; empty where it does not."""
    agent: str
    parent: str
    """The agent that it works for; empty where none is known."""
    kind: str


@dataclass(slots=True)
class _Chain:
    """An agent that is known by what it sends."""

    whose: Whose
    started_s: float
    ended_s: float
    failed: bool
    calls: bool
    """Its last reply called tools, and their results have not come yet."""
    ends: list[int] = field(default_factory=list)


class Agents:
    """All agents of one capture."""

    def __init__(self, salt: bytes) -> None:
        self._salt = salt
        self._count = 0
        self._ends: Remembered[tuple[str, int], _Chain] = Remembered()
        self._heads: Remembered[tuple[str, int], _Chain] = Remembered()
        self._responses: Remembered[str, _Chain] = Remembered()
        self._given: Remembered[tuple[str, int], tuple[str, str]] = Remembered()
        """By a text that a call of a tool holds: whose call it was, and the kind of agent it asks for."""
        self._waiting: Remembered[tuple[str, str], _Chain] = Remembered()
        """Chains of a session whose last reply called tools."""

    @property
    def count(self) -> int:
        """How many there were that no header names."""
        return self._count

    def whose(
        self, headers: dict[bytes, bytes], secret: bytes, asked: Asked, started_s: float, ended_s: float
    ) -> tuple[Whose, _Chain | None]:
        """Return whose a request is, and its chain where no header names the agent."""
        session = _named(headers, SESSION) or asked.session
        agent, parent = _named(headers, AGENT), _named(headers, PARENT)
        scope = session or f"\0{hashed(secret.decode('latin-1'), self._salt)}"
        if agent:
            kind = _named(headers, KIND)
            if not parent or not kind:
                given = self._giver(scope, asked)
                parent, kind = parent or given[0], kind or given[1]
            return Whose(session, agent, parent if parent != agent else "", kind), None
        chain = self._known(scope, asked, started_s)
        if chain is None:
            parent, kind = self._giver(scope, asked) if asked.is_first else ("", "")
            if session and not parent and asked.is_first:
                parent, kind = self._waiter(scope, started_s), ""
            self._count += 1
            name = f"{hashed(str(self._count), self._salt):016x}"
            chain = _Chain(Whose(session, name, parent, kind), started_s, ended_s, False, False)
        self._go_on(scope, chain, asked, started_s, ended_s)
        return chain.whose, chain

    def note_reply(
        self,
        headers: dict[bytes, bytes],
        secret: bytes,
        whose: Whose,
        chain: _Chain | None,
        *,
        response: str,
        calls: Iterable[tuple[str, Any]],
        failed: bool,
    ) -> None:
        """Remember what a reply gives to tools, for the agents that begin with it."""
        scope = whose.session or f"\0{hashed(secret.decode('latin-1'), self._salt)}"
        has_calls = False
        for _, arguments in calls:
            has_calls = True
            kind = next((k for name in _KINDS if (k := _text(arguments, name))), "")
            for words in _texts(arguments, _DEPTH_MAX):
                self._given.put((scope, hashed(words.strip(), self._salt)), (whose.agent, kind))
        if chain is not None:
            chain.failed, chain.calls = failed, has_calls
            if response:
                self._responses.put(response, chain)
            if has_calls:
                self._waiting.put((scope, whose.agent), chain)

    def _known(self, scope: str, asked: Asked, started_s: float) -> _Chain | None:
        """Return the chain that a request goes on from."""
        if asked.continues:
            return self._responses.get(asked.continues)
        ends = asked.content.ends if asked.content is not None else ()
        for end in reversed(ends):
            chain = self._ends.get((scope, end))
            if chain is not None and _may_be(chain, asked, started_s):
                return chain
        chain = self._heads.get((scope, asked.head))
        return chain if chain is not None and _may_be(chain, asked, started_s) else None

    def _go_on(self, scope: str, chain: _Chain, asked: Asked, started_s: float, ended_s: float) -> None:
        chain.started_s, chain.ended_s = started_s, max(chain.ended_s, ended_s)
        if asked.content is not None and asked.content.ends:
            self._ends.put((scope, asked.content.ends[-1]), chain)
        self._heads.put((scope, asked.head), chain)
        self._waiting.pop((scope, chain.whose.agent), None)

    def _giver(self, scope: str, asked: Asked) -> tuple[str, str]:
        """Return the agent that gave the first text of this one to a tool, and the kind it asked for."""
        for opening, is_long in asked.openings:
            given = self._given.get((scope, opening))
            if given is not None and (is_long or (scope, given[0]) in self._waiting):
                return given
        return "", ""

    def _waiter(self, scope: str, started_s: float) -> str:
        """Return the one agent of a session whose tools run as this one starts; nothing if several do."""
        found = [
            chain.whose.agent
            for (where, _), chain in self._waiting.items()
            if where == scope and chain.ended_s <= started_s
        ]
        return found[0] if len(found) == 1 else ""


def _may_be(chain: _Chain, asked: Asked, started_s: float) -> bool:
    """Return whether a request may be a chain's next: after the last one, and not a beginning."""
    if started_s < chain.ended_s:
        return False
    return chain.failed or not asked.is_first


def _named(headers: dict[bytes, bytes], names: Iterable[bytes]) -> str:
    return next((headers[name].decode("latin-1") for name in names if headers.get(name)), "")


def _text(arguments: Any, name: str) -> str:
    found = arguments.get(name) if type(arguments) is dict else None
    return found if type(found) is str else ""


def _texts(value: Any, depth: int) -> Iterable[str]:
    if type(value) is str:
        yield value
    elif type(value) in (dict, list) and depth:
        for each in value.values() if type(value) is dict else value:
            yield from _texts(each, depth - 1)
