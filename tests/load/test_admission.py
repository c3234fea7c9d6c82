"""Who may go, and when: limits, budgets, backing off."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from swarm.config.load import AdmissionConfig
from swarm.load.admission import AdmissionControl


def gate(hosts: int = 1, **limits: float) -> AdmissionControl:
    return AdmissionControl(AdmissionConfig.model_validate(limits), hosts=hosts)


def ask(admission: AdmissionControl, *numbers: int, at_s: float = 0.0, tokens: int = 100) -> list[int]:
    """Ask for some requests; return who may go."""
    for number in numbers:
        admission.ask(number, f"a{number}", tokens, 10, at_s)
    return [number for number, _ in admission.admitted(at_s)]


def test_without_limits_all_go() -> None:
    assert ask(gate(), 1, 2, 3) == [1, 2, 3]


def test_in_flight_is_bounded_and_first_come_is_first_served() -> None:
    admission = gate(max_in_flight=2)
    assert ask(admission, 1, 2, 3, 4) == [1, 2]
    admission.ended(1, 5.0, ok=True)
    assert admission.admitted(5.0) == [(3, 5.0)]


def test_prefill_is_bounded_until_the_first_token() -> None:
    admission = gate(max_in_prefill=1)
    assert ask(admission, 1, 2) == [1]
    admission.first_token(1)
    assert [number for number, _ in admission.admitted(1.0)] == [2]


def test_a_request_that_fails_before_its_first_token_leaves_prefill() -> None:
    admission = gate(max_in_prefill=1)
    ask(admission, 1, 2)
    admission.ended(1, 1.0, ok=False)
    assert [number for number, _ in admission.admitted(1.0)] == [2]


@pytest.mark.parametrize(
    ("name", "per_minute"), [("input_tokens_per_minute", 6000), ("output_tokens_per_minute", 600)]
)
def test_a_budget_fills_evenly(name: str, per_minute: float) -> None:
    admission = gate(**{name: per_minute})
    # The bucket holds a minute's tokens: 60 requests of 100 tokens in, 10 out; then one a second.
    assert len(ask(admission, *range(62))) == 60
    assert admission.next_s(0.0) == pytest.approx(1.0)
    assert admission.admitted(0.99) == []
    assert [number for number, _ in admission.admitted(1.0 + 1e-9)] == [60]


def test_a_request_larger_than_a_minutes_budget_goes_when_the_bucket_is_full() -> None:
    admission = gate(input_tokens_per_minute=600)
    assert ask(admission, 1, tokens=1800) == [1]
    assert ask(admission, 2, at_s=0.0, tokens=100) == []
    # 1,200 tokens in debt and 100 to come, at 10 a second.
    assert admission.next_s(0.0) == pytest.approx(130.0)


def test_an_agent_whose_requests_fail_backs_off_twice_as_long_each_time() -> None:
    admission = gate(backoff_first_s=2.0, backoff_max_s=5.0)
    now_s, waits = 0.0, []
    for number in range(4):
        admission.ask(number, "a", 100, 10, now_s)
        due_s = admission.next_s(now_s) if number else now_s
        waits.append(due_s - now_s)
        ((_, waited_s),) = admission.admitted(due_s)
        assert waited_s == pytest.approx(due_s - now_s)
        now_s = due_s
        admission.ended(number, now_s, ok=False)
    assert waits == pytest.approx([0.0, 2.0, 4.0, 5.0])


def test_an_agent_that_backs_off_holds_back_nobody_else() -> None:
    admission = gate(backoff_first_s=2.0)
    ask(admission, 1)
    admission.ended(1, 0.0, ok=False)
    assert ask(admission, 1, 2) == [2]


@pytest.mark.parametrize(("limit", "hosts", "each"), [(10, 2, 5), (10, 3, 3), (1, 4, 1)])
def test_hosts_share_a_limit(limit: int, hosts: int, each: int) -> None:
    assert len(ask(gate(hosts=hosts, max_in_flight=limit), *range(20))) == each


@settings(max_examples=100, deadline=None)
@given(
    steps=st.lists(st.tuples(st.floats(0, 5), st.integers(1, 400), st.booleans()), max_size=40),
    in_flight=st.integers(1, 4),
    budget=st.integers(100, 3000),
)
def test_everybody_goes_in_the_end_and_no_bound_is_passed(
    steps: list[tuple[float, int, bool]], in_flight: int, budget: int
) -> None:
    admission = gate(max_in_flight=in_flight, input_tokens_per_minute=budget, backoff_first_s=1.0)
    now_s, through, gone = 0.0, [], []
    for number, (gap_s, tokens, ok) in enumerate(steps):
        now_s += gap_s
        admission.ask(number, f"a{number % 3}", tokens, 1, now_s)
        through += [each for each, _ in admission.admitted(now_s)]
        assert len(through) <= in_flight
        if through:
            admission.ended(through[0], now_s, ok=ok)
            gone.append(through.pop(0))
        admission.audit()
    for _ in range(10_000):
        through += [each for each, _ in admission.admitted(now_s)]
        while through:
            admission.ended(through[0], now_s, ok=True)
            gone.append(through.pop(0))
        next_s = admission.next_s(now_s)
        if math.isinf(next_s):
            break
        now_s = max(next_s, now_s) + 1e-6
    assert sorted(gone) == list(range(len(steps))) and not admission.waiting_count
