"""Block ids fit for another format: whole or rounded up, of another size, one namespace for all sessions."""

from __future__ import annotations

from collections.abc import Sequence

from swarm.errors import UsageError
from swarm.workload.recorded import RecordedRequest, RecordedSession

NAMELESS_MAX = 1 << 20
"""Blocks of one request that get an id as the source has none: a length alone must not fill the memory."""
PARTIAL = "partial last block without an id: this format names whole blocks"


def whole_blocks(request: RecordedRequest, block_tokens: int) -> Sequence[int]:
    """Return the ids of whole blocks, without that of a partial last one."""
    return request.hash_ids[: request.input_tokens // block_tokens]


def too_long(session: RecordedSession, request: RecordedRequest, found: str) -> UsageError:
    """Return the error of a request that is too long for what is written."""
    return UsageError(
        f"{session.source}: session {session.id}, the request at {request.t_s:g} s has {found}; leave the "
        "session out, or convert to weka, which holds lengths alone"
    )


def factor(session: RecordedSession, block_tokens: int) -> int:
    """Return how many blocks of the session make one of `block_tokens` (0: keep them)."""
    if block_tokens in (0, session.block_tokens):
        return 1
    if block_tokens % session.block_tokens:
        raise UsageError(
            f"{session.source}: blocks of {session.block_tokens} tokens cannot become blocks of "
            f"{block_tokens}; state a multiple as block_tokens=N"
        )
    return block_tokens // session.block_tokens


class Renamed:
    """Ids 0, 1, ... in order of first use, over all sessions; local ids of two sessions stay apart."""

    def __init__(self) -> None:
        self._namespaces: dict[str, dict[int, int]] = {}
        self._next = 0

    def session(self, session: RecordedSession) -> dict[int, int]:
        """Return the names of a session's ids so far: kept where its namespace spans sessions."""
        return self._namespaces.setdefault(session.namespace, {}) if session.shares_ids else {}

    def ids(
        self, names: dict[int, int], session: RecordedSession, request: RecordedRequest, factor: int
    ) -> list[int]:
        """Return one id for each block, the partial last one included, which is new each time.

        A group of blocks is known by its last one: an id implies every id before it.
        """
        block_tokens = session.block_tokens
        whole = whole_blocks(request, block_tokens)
        renamed = []
        for block_id in whole[factor - 1 :: factor]:
            name = names.get(block_id)
            if name is None:
                name = names[block_id] = self._fresh()
            renamed.append(name)
        size = block_tokens * factor
        nameless = request.input_tokens // size - len(renamed)
        if nameless > NAMELESS_MAX:
            found = f"{nameless} blocks without an id, more than the {NAMELESS_MAX} that are given one"
            raise too_long(session, request, found)
        while request.input_tokens >= (len(renamed) + 1) * size:
            # Blocks that the source does not name are nobody else's.
            renamed.append(self._fresh())
        if request.input_tokens > len(renamed) * size:
            renamed.append(self._tail(names, request, block_tokens, len(whole), len(renamed) * factor))
        return renamed

    def _tail(
        self, names: dict[int, int], request: RecordedRequest, block_tokens: int, whole: int, named: int
    ) -> int:
        """Return the id of the partial last block: the source's own if it has one, else a new one."""
        if named < whole or len(request.hash_ids) == whole:
            return self._fresh()
        own = request.hash_ids[whole]
        if own not in names:
            names[own] = self._fresh()
        return names[own]

    def _fresh(self) -> int:
        self._next += 1
        return self._next - 1
