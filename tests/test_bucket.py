"""A token bucket against the sum of what has flowed in and out."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swarm.bucket import Bucket, minute_bucket

USES = st.lists(st.tuples(st.integers(0, 40), st.integers(1, 150)), max_size=20)


@given(USES)
def test_a_use_passes_when_what_has_flowed_in_covers_it_or_the_bucket_is_full(
    uses: list[tuple[int, int]],
) -> None:
    bucket, level, now_s = Bucket(capacity=100.0, per_s=3.0), Fraction(100), 0
    for seconds, tokens in uses:
        now_s += seconds
        level = min(Fraction(100), level + 3 * seconds)
        missing = max(Fraction(0), min(tokens, 100) - level)
        assert bucket.wait_s(tokens, float(now_s)) == pytest.approx(float(missing / 3), abs=1e-6)
        if not missing:
            bucket.take(tokens, float(now_s))
            level -= tokens
        assert bucket.is_idle(float(now_s)) == (level == 100)


def test_what_waits_as_long_as_it_is_told_passes() -> None:
    bucket = minute_bucket(7.0)
    assert bucket is not None
    now_s = 0.1
    for _ in range(1000):
        now_s += bucket.wait_s(3.0, now_s)
        assert bucket.wait_s(3.0, now_s) == 0.0
        bucket.take(3.0, now_s)


def test_an_earlier_time_takes_nothing_away() -> None:
    bucket = Bucket(capacity=60.0, per_s=1.0)
    bucket.take(60.0, 100.0)
    assert bucket.wait_s(10.0, 110.0) == 0.0
    assert bucket.wait_s(10.0, 90.0) == 0.0


def test_no_limit_is_no_bucket() -> None:
    assert minute_bucket(None) is None
