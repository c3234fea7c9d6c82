"""Sessions as one may hand them to others: shape, times and equalities kept, names and fingerprints gone.

Hash ids may be digests of words: who guesses a text can prove that it was there. They become digests under a
secret that is drawn for one sharing and kept nowhere. A name stays only where it is everybody's.
"""

from __future__ import annotations

import re
import secrets
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from hashlib import blake2b

from swarm.workload.recorded import RecordedRequest, RecordedSession, RecordedSubagent


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


WORDS = _words(
    """text thinking reasoning image document tool_use tool_result tool_call tool_calls compaction notice
    end_turn stop stop_sequence max_tokens max_output_tokens length content_filter refusal pause_turn
    function_call completed failed incomplete interrupted aborted cancelled error unknown other"""
)
"""Kinds of input and output, reasons to stop and ways to end, as formats and APIs have them."""
KINDS = _words(
    """general-purpose Explore Plan Bash acompact compact statusline-setup output-style-setup
    claude-code-guide subagent sub-agent task explore general plan review side_question"""
)
"""Kinds of sub-agents that tools bring with them."""
_PLACES = _words(
    """anthropic openai google qwen deepseek deepseek-ai moonshotai zai-org z-ai minimaxai meta-llama
    mistralai x-ai nvidia"""
)
_MAKERS = _words(
    """claude gpt chatgpt codex gemini gemma kimi glm qwen deepseek minimax llama mistral mixtral ministral
    codestral devstral magistral grok nova command phi granite nemotron o"""
)
_MODEL_WORDS = _words(
    """sonnet opus haiku instant fable mini nano micro pro flash lite turbo codex max xhigh high medium low
    preview latest instruct chat coder thinking exp air plus large small fast oss moe vl vision next base it
    reasoner distill speciale scout maverick experimental non reasoning beta code gpt"""
)
_NUMBERED = re.compile(r"[a-z]?[0-9]{1,8}[a-z]?")
"""4, 4o, v3, k2, 30b, a3b, 20250929."""
_NAME_MAX = 64


def is_public_model(name: str) -> bool:
    """Say whether a model's name is made of what makers call their models, and of numbers, alone."""
    place, _, model = name.lower().removesuffix("[1m]").rpartition("/")
    if len(name) > _NAME_MAX or (place and place not in _PLACES):
        return False
    first, *others = re.split("[-.:@_ ]", model)
    return first.rstrip("0123456789") in _MAKERS and all(
        word in _MODEL_WORDS or _NUMBERED.fullmatch(word) for word in others
    )


class Sharing:
    """One handing out: the same model or block has the same new name in all its sessions."""

    def __init__(self, keep: Iterable[str] = ()) -> None:
        """Keep also the names that are in `keep`, as they are."""
        self.kept: Counter[str] = Counter()
        """Names that stayed, by how often."""
        self.replaced: Counter[str] = Counter()
        """How many distinct names became others, by what they named."""
        self._keep = frozenset(keep)
        self._secret = secrets.token_bytes(32)
        self._names: dict[tuple[str, str], str] = {}
        self._sessions = 0

    def sessions(self, sessions: Iterable[RecordedSession]) -> Iterator[RecordedSession]:
        """Yield the sessions as others may have them, each beginning at its own time 0."""
        for session in sessions:
            self._sessions += 1
            yield self._session(session, f"session-{self._sessions:06d}")

    def _session(self, session: RecordedSession, name: str) -> RecordedSession:
        start_s = min((entry.t_s for entry in session.entries), default=0.0)
        scope = session.namespace if session.shares_ids else name
        ids: dict[int, int] = {}
        agents: dict[str, str] = {}
        entries: list[RecordedRequest | RecordedSubagent] = []
        for entry in session.entries:
            if isinstance(entry, RecordedRequest):
                entries.append(self._request(entry, start_s, scope, ids))
            else:
                agent = agents.setdefault(entry.agent_id, f"agent-{len(agents) + 1}")
                entries.append(self._subagent(entry, agent, start_s, scope, ids))
        return replace(
            session,
            id=name,
            source=name,
            models=tuple(dict.fromkeys(map(self._model, session.models))),
            entries=tuple(entries),
            has_words=False,
            project="",
        )

    def _subagent(
        self, agent: RecordedSubagent, name: str, start_s: float, scope: str, ids: dict[int, int]
    ) -> RecordedSubagent:
        return replace(
            agent,
            t_s=agent.t_s - start_s,
            agent_id=name,
            kind=self._name("kind of sub-agent", agent.kind, agent.kind in KINDS),
            status=self._word(agent.status),
            requests=tuple(self._request(each, 0.0, scope, ids) for each in agent.requests),
        )

    def _request(
        self, request: RecordedRequest, start_s: float, scope: str, ids: dict[int, int]
    ) -> RecordedRequest:
        return replace(
            request,
            t_s=request.t_s - start_s,
            model=self._model(request.model),
            hash_ids=self._ids(request.hash_ids, scope, ids),
            input_types=tuple(map(self._word, request.input_types)),
            output_types=tuple(map(self._word, request.output_types)),
            stop=None if request.stop is None else self._word(request.stop),
        )

    def _ids(self, old: Sequence[int], scope: str, ids: dict[int, int]) -> list[int]:
        new = []
        for each in old:
            known = ids.get(each)
            if known is None:
                digest = blake2b(f"{scope}\x00{each}".encode(), digest_size=8, key=self._secret).digest()
                known = ids[each] = int.from_bytes(digest, "little") >> 1
            new.append(known)
        return new

    def _model(self, model: str) -> str:
        return self._name("model", model, is_public_model(model))

    def _word(self, word: str) -> str:
        if word in WORDS or word in self._keep or not word:
            self.kept[word] += bool(word)
            return word
        self._name("kind or ending", word, False)
        return "other"

    def _name(self, what: str, name: str, is_everybodys: bool) -> str:
        if not name or is_everybodys or name in self._keep:
            self.kept[name] += bool(name)
            return name
        if (what, name) not in self._names:
            self.replaced[what] += 1
            self._names[what, name] = f"{what.split()[0]}-{self.replaced[what]}"
        return self._names[what, name]
