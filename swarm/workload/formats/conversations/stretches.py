"""An agent's requests as turns of words: stretches in which its context only grew, filled with text.

For formats that hold what each turn adds. Equal blocks become equal text, as far as a first prompt goes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import shake_128
from math import ceil

from swarm.workload.formats.blocks import PARTIAL, too_long, whole_blocks
from swarm.workload.formats.conversations.text import READS
from swarm.workload.formats.fields import LENGTH_MAX
from swarm.workload.formats.options import Options
from swarm.workload.formats.output import Losses
from swarm.workload.recorded import RecordedRequest, RecordedSession

WRITES = Options(block_tokens=0, rows="", bytes_per_token=4.0, settings=("bytes_per_token",))
TEXT_BYTES_MAX = 1 << 28
"""Of one prompt laid out as text."""
SAME_S = 1e-3
"""Times that differ by less are the same; delays are written to the microsecond, and add up."""
HOLDS = frozenset({"session.has_words"})


class Text:
    """Filler of `new` tokens, or of a whole first prompt, equal as far as its blocks are.

    It is laid out when it is written: no more than one line is in memory.
    """

    def __init__(
        self,
        session: RecordedSession,
        name: str,
        number: int,
        request: RecordedRequest,
        new: int,
        options: Options,
    ) -> None:
        self._scope = session.namespace if session.shares_ids else f"{session.namespace}|{session.id}"
        self._blocks = () if new else whole_blocks(request, session.block_tokens)
        self._block_tokens = session.block_tokens
        self._own = f"{session.namespace}|{name}|{number}"
        self._own_tokens = new or request.input_tokens - len(self._blocks) * session.block_tokens
        self._options = options

    def written(self) -> str:
        """Return the words."""
        blocks = [self._filler(f"{self._scope}|{each}", self._block_tokens) for each in self._blocks]
        return "".join((*blocks, self._filler(self._own, self._own_tokens)))

    @property
    def is_rounded(self) -> bool:
        """Whether it is read as another count of tokens, as bytes are whole."""
        tokens = len(self._blocks) * self._block_tokens + self._own_tokens
        size = len(self._blocks) * self._bytes(self._block_tokens) + self._bytes(self._own_tokens)
        return ceil(size / self._options.bytes_per_token) != tokens

    def _bytes(self, tokens: int) -> int:
        return round(tokens * self._options.bytes_per_token)

    def _filler(self, seed: str, tokens: int) -> str:
        length = self._bytes(tokens)
        return shake_128(seed.encode(errors="replace")).hexdigest((length + 1) // 2)[:length]


@dataclass(frozen=True, slots=True)
class Said:
    """What one request adds to its conversation."""

    request: RecordedRequest
    text: Text
    wait_s: float | None
    """From the end of the request before; None for an agent's first."""

    @property
    def delay_ms(self) -> float:
        """The wait as such formats write it; 0 where there is none."""
        return round((self.wait_s or 0.0) * 1000, 3)


@dataclass(frozen=True, slots=True)
class Known:
    """Ids of blocks that stand in the file already."""

    seen: set[int]
    laid: set[int]
    """Those whose text follows from their id: those of first prompts."""

    def lost(self, ids: Sequence[int], kept: int | None) -> int:
        """Return how many leading blocks an earlier request had, and this one's text does not share.

        `kept` are blocks of the turn that it goes on from; None for the first of a conversation.
        """
        before = _leading(ids, self.seen)
        shared = _leading(ids, self.laid) if kept is None else kept
        self.seen.update(ids)
        if kept is None:
            self.laid.update(ids)
        return max(0, before - shared)


class Spaces:
    """What is known by namespace: for as long as sessions may share it."""

    def __init__(self) -> None:
        self._shared: dict[str, Known] = {}

    def known(self, session: RecordedSession) -> Known:
        """Return what stands in the file already of a session's namespace."""
        known = Known(set(), set())
        return self._shared.setdefault(session.namespace, known) if session.shares_ids else known


def stretches(
    session: RecordedSession,
    name: str,
    requests: Sequence[RecordedRequest],
    known: Known,
    options: Options,
    losses: Losses,
) -> Iterator[list[Said]]:
    """Yield the turns of each stretch of the life of agent `name`; none of them is empty."""
    turns: list[Said] = []
    previous: RecordedRequest | None = None
    for number, request in enumerate(sorted(requests, key=lambda request: request.t_s)):
        if not request.input_tokens:
            losses.note("request without input: left out")
            continue
        new = 0 if previous is None else _grown(previous, request, session.block_tokens)
        if new <= 0 and turns:
            losses.note("context that lost something: goes on as another conversation")
            yield turns
            turns = []
        _check_length(session, request, options)
        _note_blocks(session, previous if turns else None, request, known, losses)
        text = Text(session, name, number, request, new if turns else 0, options)
        losses.note(
            "length of a text: a token more or less, for bytes_per_token is not whole", text.is_rounded
        )
        turns.append(Said(request, text, None if previous is None else _wait_s(previous, request)))
        previous = request
    if turns:
        yield turns


def _note_blocks(
    session: RecordedSession,
    previous: RecordedRequest | None,
    request: RecordedRequest,
    known: Known,
    losses: Losses,
) -> None:
    """Note what texts make of blocks; `previous` is the turn that the request goes on from."""
    ids = whole_blocks(request, session.block_tokens)
    kept = 0 if previous is None else len(whole_blocks(previous, session.block_tokens))
    nameless = 0 if previous is None else previous.input_tokens // session.block_tokens - kept
    lost = known.lost(ids, None if previous is None else kept)
    losses.note(PARTIAL, len(request.hash_ids) - len(ids))
    losses.note("block without an id: the next turn's text shares it", nameless)
    losses.note("block that an earlier request had: its text is another", lost)


def note_settings(session: RecordedSession, options: Options, losses: Losses) -> None:
    """Name what a file of words does not say of itself, and that the words are none."""
    losses.note("words: the text is filler of the right length")
    size, per_token = session.block_tokens, options.bytes_per_token
    losses.note(f"size of blocks: read it with block_tokens={size}", size != READS.block_tokens)
    losses.note(
        f"size of tokens: read it with bytes_per_token={per_token:g}", per_token != READS.bytes_per_token
    )


def _leading(ids: Sequence[int], among: set[int]) -> int:
    return next((index for index, each in enumerate(ids) if each not in among), len(ids))


def _grown(previous: RecordedRequest, request: RecordedRequest, block_tokens: int) -> int:
    """Return how many tokens are new beyond the previous prompt and its reply; 0 if not all are kept."""
    kept = list(whole_blocks(previous, block_tokens))
    if list(request.hash_ids[: len(kept)]) != kept:
        return 0
    return request.input_tokens - previous.input_tokens - previous.output_tokens


def _wait_s(previous: RecordedRequest, request: RecordedRequest) -> float:
    if request.think_s is not None:
        return request.think_s
    return max(0.0, request.t_s - previous.t_s - (previous.api_s or 0.0))


def _check_length(session: RecordedSession, request: RecordedRequest, options: Options) -> None:
    """Refuse what could not be laid out, or not be read again."""
    most = min(LENGTH_MAX, int(TEXT_BYTES_MAX / options.bytes_per_token))
    for what, count, bound in (
        ("prompt", request.input_tokens, most),
        ("reply", request.output_tokens, LENGTH_MAX),
    ):
        if count > bound:
            raise too_long(session, request, f"a {what} of {count} tokens, more than the {bound} of a text")
