"""A run that measured itself says so; each finding has a case just inside its bound and one past it."""

import dataclasses
from typing import Any

import pytest

from swarm.config.experiment import AuditConfig
from swarm.config.provider import ProviderConfig
from swarm.measure.hosts import HostLoad
from swarm.measure.latency import Selection, flags
from swarm.measure.saturation import EventLateness
from swarm.measure.sketch import Sketch
from swarm.measure.totals import RunFacts, RunTotals, ServerCounters
from swarm.measure.validity import invalid_reasons
from swarm.records.row import RequestRow
from swarm.records.rows import RowTable

FACTS = RunFacts(
    run_id="r",
    experiment="e",
    mode="live",
    seed=1,
    block_tokens=16,
    tiers=None,
    objectives=(),
    audit=AuditConfig(),
    endpoints=("http://a", "http://b"),
    provider=None,
    cache_ttl_s=None,
    exact_output=True,
)
TOTALS = RunTotals(
    measured_from_s=0.0,
    measured_to_s=60.0,
    sessions_started=1,
    sessions_finished=1,
    orchestrators_started=1,
    subagents_started=0,
    peak_live=1,
    live_agents_mean=1.0,
    sent=0,
    in_flight=0,
    unaccounted=0,
    itl=None,
    loop_lag=None,
    hosts=(),
    sessions_asked_mean=100.0,
    sessions_live_mean=100.0,
    counters=None,
    capacity=None,
    faults=(),
)


def sketch(value: float) -> Sketch:
    made = Sketch()
    made.add_many([value] * 100)
    return made


def row(**changes: Any) -> RequestRow:
    values: dict[str, Any] = {
        field.name: None if "None" in str(field.type) else {"str": "", "bool": True}.get(str(field.type), 0)
        for field in dataclasses.fields(RequestRow)
    }
    values |= {"outcome": "ok", "output_tokens": 8, "planned_output_tokens": 8, "endpoint": "http://a"}
    return RequestRow(**{**values, **changes})


def reasons(
    rows: list[RequestRow], *, send_lag_s: float = 0.0, facts: RunFacts = FACTS, **totals: Any
) -> list[str]:
    table = RowTable()
    table.extend(rows)
    made = table.table()
    everything = Selection(made, flags(made, "measured"))
    return invalid_reasons(facts, dataclasses.replace(TOTALS, **totals), everything, sketch(send_lag_s))


def host(**changes: Any) -> HostLoad:
    values: dict[str, Any] = {
        "host": 3, "loop_lag": sketch(0.001), "cpu_share": 0.5, "cpu_wait_share": 0.01, "put_off_s": 0.0,
        "clock_offset_s": 0.0,
    }  # fmt: skip
    return HostLoad(**{**values, **changes})


GOOD = [row(), row(endpoint="http://b")] * 50


def test_a_sound_run_has_no_findings() -> None:
    assert reasons(GOOD, hosts=(host(),)) == []


@pytest.mark.parametrize(
    ("inside", "past", "words"),
    [
        ({"loop_lag": sketch(0.049)}, {"loop_lag": sketch(0.06)}, "event-loop lag 60"),
        ({"cpu_share": 0.94}, {"cpu_share": 0.97}, "97% of a core"),
        ({"cpu_wait_share": 0.29}, {"cpu_wait_share": 0.4}, "waited 40%"),
        ({"clock_offset_s": -0.09}, {"clock_offset_s": -0.2}, "-200.0 ms from the driver's"),
        ({"cpu_wait_share": None, "cpu_share": None, "clock_offset_s": None}, None, ""),
    ],
)
def test_a_host_that_was_the_limit_is_named(
    inside: dict[str, Any], past: dict[str, Any] | None, words: str
) -> None:
    assert reasons(GOOD, hosts=(host(**inside),)) == []
    if past is not None:
        (reason,) = reasons(GOOD, hosts=(host(**past),))
        assert reason.startswith("host 3") and words in reason


def test_many_hosts_findings_are_told_in_few_words() -> None:
    assert len(reasons(GOOD, hosts=tuple(host(host=k, cpu_share=1.0) for k in range(1000)))) == 6


@pytest.mark.parametrize(
    ("late", "bound_s", "said"), [(2, 0.05, 1), (1, 0.05, 0), (2, 60.0, 0), (2, 0.06, 0)]
)
def test_an_emulator_that_did_not_keep_its_own_times_is_named(late: int, bound_s: float, said: int) -> None:
    facts = dataclasses.replace(FACTS, audit=AuditConfig(event_lateness_p99_s=bound_s))
    counts = {0.01: 90.0, 0.05: 100.0 - late, 0.1: 100.0, float("inf"): 100.0}
    known = (EventLateness(0, {0.05: 9.0, float("inf"): 9.0}), EventLateness(1, counts))
    found = reasons(GOOD, facts=facts, event_lateness=known)
    assert len(found) == said and all("server 1: 2.0%" in reason for reason in found)


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([row(output_tokens=7)] * 3 + GOOD, "not as long as asked"),
        (
            [row(outcome="failed", error_class="http_4xx")] * 2 + GOOD,
            "2.0% of the requests failed (2 http_4xx)",
        ),
        ([row()] * 100, "http://b took no part"),
        ([row(outcome="failed", error_class="refused")], "no request of the measured phase finished"),
    ],
)
def test_a_target_that_did_not_do_its_part_is_named(rows: list[RequestRow], words: str) -> None:
    (reason,) = reasons(rows)
    assert words in reason


@pytest.mark.parametrize(
    ("changes", "count"),
    [
        ({"cached_tokens": 5_500}, 0),
        # A block of 16, a template of up to 128 and what the server counts otherwise are no surplus.
        ({"cached_tokens": 5_500 + 16 + 128 + 500}, 0),
        ({"cached_tokens": 5_500 + 16 + 128 + 501}, 1),
        ({"cached_tokens": 9_900}, 1),
        ({"cached_tokens": 9_900, "prompt_tokens": 14_000}, 0),
        ({"cached_tokens": 9_900, "attempts": 2}, 0),
        ({"cached_tokens": None}, 0),
    ],
)
def test_hits_that_the_run_cannot_explain_are_of_a_warm_cache(changes: dict[str, Any], count: int) -> None:
    planned = {"planned_prompt_tokens": 10_000, "prompt_tokens": 10_000, "ideal_tokens": 5_500, "attempts": 1}
    rows = [row(**{**planned, **changes}, endpoint=url) for url in FACTS.endpoints] * 50
    assert len(reasons(rows)) == count
    assert reasons(rows, facts=dataclasses.replace(FACTS, mode="simulate")) == []


@pytest.mark.parametrize(
    ("hit_tokens", "query_tokens", "count"),
    [
        (550_000, 1_000_000, 0),
        (550_000 + 14_400 + 50_000, 1_000_000, 0),
        (550_000 + 14_400 + 50_001, 1_000_000, 1),
        (990_000, 1_050_000, 1),
        # Another client's traffic is in these.
        (990_000, 1_050_001, 0),
        (0, 0, 0),
    ],
)
def test_hits_that_counters_alone_tell_are_held_against_the_run_too(
    hit_tokens: int, query_tokens: int, count: int
) -> None:
    planned = {"planned_prompt_tokens": 10_000, "prompt_tokens": 10_000, "ideal_tokens": 5_500, "attempts": 1}
    rows = [row(**planned, endpoint=url) for url in FACTS.endpoints] * 50
    counters = ServerCounters("vllm", 1, hit_tokens, query_tokens, 0)
    found = reasons(rows, counters=counters)
    assert [reason.startswith("the server's counters tell of") for reason in found] == [True] * count
    known = [row(**planned, cached_tokens=5_500, endpoint=url) for url in FACTS.endpoints] * 50
    assert reasons(known, counters=counters) == []


def test_streams_without_a_finish_have_a_bound_of_their_own() -> None:
    lax = dataclasses.replace(FACTS, audit=AuditConfig(failed_share=0.5))
    (reason,) = reasons([row(outcome="failed", error_class="truncated")] * 3 + GOOD, facts=lax)
    assert "ended without a finish" in reason


@pytest.mark.parametrize(
    ("facts", "error_class", "count"),
    [
        ({"provider": ProviderConfig(allotment_tokens=1000)}, "http_429", 0),
        ({"provider": ProviderConfig(allotment_tokens=1000)}, "http_4xx", 1),
        ({"provider": ProviderConfig()}, "http_429", 1),
        ({}, "http_429", 1),
        ({"is_search": True}, "http_4xx", 0),
        ({"is_search": True}, "truncated", 0),
        ({}, "truncated", 2),
        ({"audit": AuditConfig(failed_share=0.3)}, "http_4xx", 0),
    ],
)
def test_failures_count_unless_the_experiment_is_about_them(
    facts: dict[str, Any], error_class: str, count: int
) -> None:
    failed = [row(outcome="failed", error_class=error_class)] * 30
    assert len(reasons(failed + GOOD, facts=dataclasses.replace(FACTS, **facts))) == count


def test_outputs_may_be_short_where_no_length_was_asked() -> None:
    assert (
        reasons([row(output_tokens=7)] * 3 + GOOD, facts=dataclasses.replace(FACTS, exact_output=False)) == []
    )


def test_a_few_turns_may_miss_an_endpoint() -> None:
    assert reasons([row()] * 10) == []


@pytest.mark.parametrize(("live", "count"), [(96.0, 0), (94.0, 1)])
def test_the_load_asked_for_is_held_against_the_load_delivered(live: float, count: int) -> None:
    assert len(reasons(GOOD, sessions_live_mean=live)) == count


def test_lateness_of_sends_is_the_runs_own_fault() -> None:
    (reason,) = reasons(GOOD, send_lag_s=0.2)
    assert "send lag" in reason
