"""Numbers as people read them."""

import pytest

from swarm.report.numbers import count, plain, rate, seconds, three


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (999.9e-6, "1 ms"),
        (0.99951, "1 s"),
        (119.96, "2 min"),
        (119.4, "119 s"),
        (7199.0, "2 h"),
        (1e7, "2,778 h"),
        (-0.9999, "-1 s"),
        (1e-9, "0 s"),
        (None, "–"),
    ],
)
def test_seconds_take_the_unit_of_what_is_shown(value: float | None, said: str) -> None:
    assert seconds(value) == said


@pytest.mark.parametrize(
    ("value", "said"), [(1330.4, "1,330"), (999.96, "1,000"), (0.1234, "0.123"), (12.34, "12.3"), (0.0, "0")]
)
def test_three_digits_without_exponent(value: float, said: str) -> None:
    assert three(value) == said
    assert plain(value) == said


def test_scaled_numbers_take_the_prefix_of_what_is_shown() -> None:
    assert rate(999_999.0, "tok/s") == "1M tok/s"
    assert rate(1234.0, "tok/s") == "1.23k tok/s"
    assert rate(2.5e15, "B/s") == "2,500T B/s"
    assert count(999_999.0) == "1M"
