"""Servers' own counters, from texts as vLLM and SGLang publish them."""

import pytest

from swarm.live.targets.counters import difference, read_counters
from swarm.measure.totals import ServerCounters

VLLM = """# HELP vllm:prefix_cache_queries_total Prefix cache queries, in terms of number of queried tokens.
# TYPE vllm:prefix_cache_queries_total counter
vllm:prefix_cache_queries_total{engine="0",model_name="m"} 1000.0
vllm:prefix_cache_queries_created{engine="0",model_name="m"} 1.7e+09
vllm:prefix_cache_queries_total{engine="1",model_name="a } b"} 500.0
# TYPE vllm:prefix_cache_hits_total counter
vllm:prefix_cache_hits_total{engine="0",model_name="m"} 600.0
vllm:prefix_cache_hits_total{engine="1",model_name="m"} 1e+02
vllm:kv_cache_usage_perc{engine="0"} 0.5
vllm:generation_tokens_total{engine="0",model_name="m"} 77.0
"""
SGLANG = """sglang:prompt_tokens_total{model_name="m"} 8.0e+03
sglang:cached_tokens_total{model_name="m",cache_source="device"} 5000
sglang:cached_tokens_total{model_name="m",cache_source="host"} 1000
sglang:cache_hit_rate{model_name="m"} 0.0075
sglang:generation_tokens_total{model_name="m"} 9
"""


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        ([VLLM], ServerCounters("vllm", 1, 700, 1500, 77)),
        ([VLLM.replace("_total", "")], ServerCounters("vllm", 1, 700, 1500, 77)),
        ([VLLM, VLLM], ServerCounters("vllm", 2, 1400, 3000, 154)),
        ([VLLM + "vllm:external_prefix_cache_hits_total{} 50\n"], ServerCounters("vllm", 1, 750, 1500, 77)),
        ([SGLANG], ServerCounters("sglang", 1, 6000, 8000, 9)),
        ([VLLM, SGLANG], ServerCounters("sglang+vllm", 2, 6700, 9500, 86)),
        ([VLLM, "# a front end\nhttp_requests_total 7\n"], None),
        (["sglang:cache_hit_rate 0.5\nsglang:prompt_tokens_total 5\n"], None),
        (["\x00 not metrics {{{"], None),
        ([], None),
    ],
)
def test_counters_are_summed_over_engines_and_servers(
    texts: list[str], expected: ServerCounters | None
) -> None:
    assert read_counters(texts) == expected


def test_a_run_is_what_was_counted_in_between() -> None:
    before, after = ServerCounters("vllm", 1, 10, 20, 5), ServerCounters("vllm", 1, 110, 220, 55)
    assert difference(before, after) == ServerCounters("vllm", 1, 100, 200, 50)


def test_counters_that_began_anew_are_unknown() -> None:
    before, after = ServerCounters("vllm", 1, 10, 20, 5), ServerCounters("vllm", 1, 3, 220, 55)
    assert difference(before, after) is None
