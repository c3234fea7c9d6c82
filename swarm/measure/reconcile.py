"""The whole run's ideal hits, from the rows of all hosts: no host alone knows what others have sent."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from swarm.context.ideal import Ideal
from swarm.context.tree import Node, Prompt
from swarm.records.batch import Place
from swarm.records.columns import LOST


def with_ideal(table: pa.Table, places: Iterable[Place], *, block_tokens: int) -> pa.Table:
    """Return the rows with `ideal_tokens` as of all requests sent before each, in the order of sending.

    A reply counts as known content from its completion on, where the next prompt echoes it.
    """
    ideal = Ideal(block_tokens=block_tokens)
    hits = [0] * table.num_rows
    for row, _, prompt, is_send in sends(table, places):
        hit = ideal.send(*prompt)
        if is_send:
            hits[row] = hit
    at = table.schema.get_field_index("ideal_tokens")
    table = table.set_column(at, table.schema.field(at), as_counted(table, pa.array(hits, pa.int64())))
    return _with_remainder(table)


def as_counted(table: pa.Table, tokens: pa.Array) -> pa.Array:
    """Return planned tokens of each row's prompt in tokens as its server counted them, rounded down.

    So no share of a prompt is above 1, whatever the server takes for a token.
    """
    counted, planned = (
        np.asarray(table.column(name).to_numpy(), dtype=np.int64)
        for name in ("prompt_tokens", "planned_prompt_tokens")
    )
    values = np.asarray(tokens.fill_null(0).to_numpy(zero_copy_only=False), dtype=np.int64)
    # Whole numbers, and so in 64 bits: both are below 2^53 where they are counted, and mostly the same.
    scaled = [
        value if ours == theirs or not ours else int(value) * int(theirs) // int(ours)
        for value, theirs, ours in zip(values.tolist(), counted.tolist(), planned.tolist(), strict=True)
    ]
    return pa.array(scaled, pa.int64(), mask=np.asarray(tokens.is_null()))


def _with_remainder(table: pa.Table) -> pa.Table:
    """Let the causes that a target told sum to ideal less cached: it saw the sends in an order of its own."""
    gap = pc.subtract(table.column("ideal_tokens"), table.column("cached_tokens"))
    for name in LOST:
        gap = pc.subtract(gap, table.column(name))
    at = table.schema.get_field_index(LOST[-1])
    return table.set_column(at, table.schema.field(at), pc.add(table.column(at), gap))


def sends(table: pa.Table, places: Iterable[Place]) -> Iterator[tuple[int, float, Prompt, bool]]:
    """Yield (row, time, prompt, is a send) in time's order: each send, and each reply that is echoed.

    A reply comes as its prompt with the reply behind it, less the last token, which is never computed. At one
    time replies come first. Rows whose places are not known are left out.
    """
    nodes = _nodes(places)
    columns = {
        name: table.column(name).to_pylist()
        for name in ("sent_s", "completed_s", "planned_prompt_tokens", "prompt_node", "echo", "outcome")
    }
    output = table.column("output_tokens").to_pylist()
    steps: list[tuple[float, int, int]] = []
    for row, sent_s in enumerate(columns["sent_s"]):
        if sent_s is None or columns["prompt_node"][row] not in nodes:
            continue
        steps.append((sent_s, 1, row))
        if columns["echo"][row] and columns["outcome"][row] == "ok" and output[row] > 0:
            steps.append((columns["completed_s"][row], 0, row))
    for at_s, is_send, row in sorted(steps):
        length = columns["planned_prompt_tokens"][row]
        if not is_send:
            length += output[row] - 1
        yield row, at_s, Prompt(nodes[columns["prompt_node"][row]], length), bool(is_send)


def _nodes(places: Iterable[Place]) -> dict[str, Node]:
    """Return the places as one tree; those below one that no report tells of are left out.

    Parents were reported before, or with, their children: only a damaged journal lacks one.
    """
    by_name = {place.name: place for place in places}
    nodes: dict[str, Node] = {}
    for name in by_name:
        chain = []
        at: str | None = name
        while at in by_name and at not in nodes:
            chain.append(by_name[at])
            at = by_name[at].parent
        if at is not None and at not in nodes:
            continue
        for place in reversed(chain):
            parent = None if place.parent is None else nodes[place.parent]
            nodes[place.name] = Node(place.name, parent, place.start)
    return nodes
