"""Ids on disk come back in order of time, with names that are the same for the same id."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from swarm.reuse.id_spool import Spool
from swarm.reuse.prefix_reuse import Touch

PATHS = st.lists(st.lists(st.integers(0, 6), max_size=6), max_size=12)


@given(paths=PATHS, factor=st.sampled_from([1, 1 << 40]))
def test_every_id_has_a_name_of_its_own(paths: list[list[int]], factor: int) -> None:
    touches = [
        Touch(number, -number, np.array(path, dtype=np.int64) * factor, 64, 0)
        for number, path in enumerate(paths)
    ]
    with Spool() as spool:
        for touch in touches:
            spool.add([touch])
        found = list(spool.touches())
        names = spool.names if any(paths) else 0
    assert [touch.request for touch in found] == [touch.request for touch in reversed(touches)]
    by_id: dict[int, set[int]] = {}
    for touch in found:
        for place, name in enumerate(touch.ids):
            by_id.setdefault(paths[touch.request][place], set()).add(int(name))
    assert all(len(each) == 1 for each in by_id.values())
    assert len({min(each) for each in by_id.values()}) == len(by_id)
    assert all(0 <= min(each) < names for each in by_id.values())
