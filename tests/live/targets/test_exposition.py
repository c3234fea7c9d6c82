"""Which samples of a page only grow."""

from __future__ import annotations

from swarm.live.targets.exposition import matching

PAGE = """# TYPE depth gauge
depth 3
# TYPE energy counter
energy 7
# TYPE took histogram
took_bucket{le="1"} 2
took_sum 1.5
took_count 2
# TYPE lag summary
lag{quantile="0.5"} 0.1
lag_sum 4
made_total 1
"""


def test_what_only_grows_is_a_counter() -> None:
    found = {sample.name: is_counter for sample, is_counter in matching(PAGE, lambda name: True)}
    assert {name for name, is_counter in found.items() if is_counter} == {
        "energy",
        "took_bucket",
        "took_sum",
        "took_count",
        "lag_sum",
        "made_total",
    }
    assert found.keys() - {"depth", "lag"} == {name for name in found if found[name]}
