"""The rows that constants are fitted on: a measurement counts once, runs that speculate are told."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).parents[2] / "scripts"
HEAD = (
    "silicon_data_source,backend,backend_version,model_path,system,precision,mode,isl,osl,batch_size,tp_size,pp_size,"
    "attention_dp_size,moe_tp_size,moe_ep_size,silicon_ttft_ms,silicon_tpot_ms"
)


def row(
    osl: int, tpot_ms: float, *, file: str = "a.csv", day: str = "01", c: int = 4, ttft_ms: float = 100.0
) -> str:
    source = f"source_file={file}; silicon_concurrency={c}; measured=2026-01-{day}"
    served = f"sglang,1.0,deepseek-ai/DeepSeek-R1,b200_sxm,fp8,agg,1024,{osl},{c},8,1,1,8,1"
    return f"{source},{served},{ttft_ms},{tpot_ms}"


@pytest.fixture
def read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):  # type: ignore[no-untyped-def]
    monkeypatch.setattr(sys, "path", [str(SCRIPTS), *sys.path])
    from fit_roofline import read_rows

    def rows(*lines: str):  # type: ignore[no-untyped-def]
        path = tmp_path / "rows.csv"
        path.write_text("\n".join([HEAD, *lines]))
        return read_rows(path)

    return rows


def test_a_measurement_exported_twice_counts_once(read) -> None:  # type: ignore[no-untyped-def]
    rows, left = read(row(1024, 8.0), row(1024, 8.0004, file="b.csv"), row(1024, 8.1, file="c.csv"))
    assert [one.tpot_s for one in rows] == pytest.approx([8.0e-3, 8.1e-3])
    assert left["the same row again, rounded"] == 1


def test_a_run_whose_longer_replies_take_less_a_token_speculates(read) -> None:  # type: ignore[no-untyped-def]
    rows, _ = read(row(1024, 8.0), row(8192, 6.5), row(1024, 9.0, day="02"), row(8192, 8.7, day="02"))
    assert [one.drafts for one in rows] == [True, True, False, False]


def test_a_run_that_takes_two_thirds_of_another_speculates(read) -> None:  # type: ignore[no-untyped-def]
    rows, _ = read(row(1024, 8.0), row(1024, 5.2, day="02"))
    assert [one.drafts for one in rows] == [False, True]


def test_where_many_requests_run_prompts_explain_it(read) -> None:  # type: ignore[no-untyped-def]
    rows, _ = read(row(1024, 20.0, c=64), row(8192, 15.0, c=64))
    assert not any(one.drafts for one in rows)
