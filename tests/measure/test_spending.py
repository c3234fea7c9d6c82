import pyarrow as pa
import pytest

from swarm.config.prices import PricesConfig
from swarm.measure.spending import cost_of, rate_limited, write_price

ROWS = pa.table(
    {
        "session": ["a", "a", "b"],
        "prompt_tokens": [1000, 2010, 16],
        "cached_tokens": [0, 992, 0],
        "output_tokens": [100, 50, 0],
        "written_5m_tokens": pa.array([None] * 3, pa.int64()),
        "written_1h_tokens": pa.array([None] * 3, pa.int64()),
    }
)


@pytest.mark.parametrize(
    ("ttl_s", "per_mtok"), [(60, 1.25), (300, 1.25), (301, 2.0), (3600, 2.0), (3601, None), (None, 1.0)]
)
def test_a_write_costs_what_the_shortest_offer_that_keeps_it_costs(
    ttl_s: float | None, per_mtok: float | None
) -> None:
    assert write_price(PricesConfig(), ttl_s) == per_mtok


def test_cost_is_the_sum_over_hits_writes_rest_and_output() -> None:
    cost = cost_of(ROWS, PricesConfig(), ttl_s=300.0, block_tokens=16)
    assert cost is not None
    written = 992 + (2000 - 992) + 16
    plain = 8 + 10
    assert cost["cache_write"] == pytest.approx(written * 1.25e-6)
    assert cost["input"] == pytest.approx(plain * 1e-6)
    assert cost["cache_read"] == pytest.approx(992 * 0.1e-6)
    assert cost["output"] == pytest.approx(150 * 5e-6)
    assert cost["per_session"] == pytest.approx(cost["total"] / 2)


def test_what_the_server_says_it_wrote_is_billed_by_how_long_it_keeps_it() -> None:
    told = ROWS.set_column(4, "written_5m_tokens", pa.array([400, 1000, 0], pa.int64()))
    told = told.set_column(5, "written_1h_tokens", pa.array([600, 0, 0], pa.int64()))
    cost = cost_of(told, PricesConfig(), ttl_s=1e6, block_tokens=16)
    assert cost is not None
    assert cost["cache_write"] == pytest.approx((1400 * 1.25 + 600 * 2.0) * 1e-6)
    assert cost["input"] == pytest.approx((3026 - 992 - 2000) * 1e-6)
    assert cost["cache_read"] == pytest.approx(992 * 0.1e-6)
    assert cost["cache_ttl_s"] is None
    no_hour = PricesConfig.model_validate({"cache_writes": [{"ttl_s": 300, "per_mtok": 1.25}]})
    assert cost_of(told, no_hour, ttl_s=300.0, block_tokens=16) is None


def test_cost_is_null_where_it_is_not_known() -> None:
    unknown = ROWS.set_column(2, "cached_tokens", pa.array([0, None, 0], pa.int64()))
    assert cost_of(unknown, PricesConfig(), ttl_s=300.0, block_tokens=16) is None
    assert cost_of(ROWS, None, ttl_s=300.0, block_tokens=16) is None
    assert cost_of(ROWS, PricesConfig(), ttl_s=1e6, block_tokens=16) is None


def test_the_share_of_time_is_of_all_agents_lives() -> None:
    rows = pa.table(
        {
            "due_s": [0.0, 40.0, 50.0, 107.0, 120.0],
            "retry_wait_s": [0.0, 30.0, 0.0, 10.0, 15.0],
            "error_class": [None, None, "http_429", "interrupted", "interrupted"],
        }
    )
    found = rate_limited(rows, to_s=100.0, agent_s=330.0)
    assert found == {"requests": 3, "gave_up": 1, "waited_s": 33.0, "share_of_time": 0.1}
