"""Watched metrics in a run's report: the same time axis as the TTFT, lines by what tells them apart."""

import math

import pyarrow as pa

from swarm.live.targets.watched import SCHEMA
from swarm.records.run_folder import RunFolder
from swarm.report.charts import picture, spec_of
from swarm.report.run.frames import over_time
from swarm.report.run.watched import series_of, watched_chart, watched_said

URL = "http://gpu:9400/metrics"


def watched() -> pa.Table:
    rows = []
    for at_s in range(0, 900, 10):
        for gpu in (0, 1):
            use = 50 + 40 * math.sin(at_s / 900 * math.pi) * gpu
            rows.append((float(at_s), URL, "GPU_UTIL", f"UUID=u{gpu},gpu={gpu}", False, use))
        rows.append((float(at_s), URL, "ENERGY", "UUID=u0,gpu=0", True, 700.0 * at_s if at_s < 500 else 0.0))
    return pa.Table.from_pylist([dict(zip(SCHEMA.names, row, strict=True)) for row in rows], schema=SCHEMA)


def test_lines_are_named_by_what_tells_them_apart() -> None:
    frame = series_of(watched())
    assert set(frame[frame["name"] == "GPU_UTIL"]["line"]) == {"gpu 0", "gpu 1"}


def test_labels_left_out_stand_where_nothing_else_tells_lines_apart() -> None:
    rows = [
        (float(at_s), URL, "received", f"device={name}", True, float(at_s * each))
        for at_s in range(4)
        for name, each in (("eth0", 100), ("lo", 7))
    ]
    table = pa.Table.from_pylist([dict(zip(SCHEMA.names, row, strict=True)) for row in rows], schema=SCHEMA)
    rates = series_of(table).groupby("line")["value"].unique().map(list).to_dict()
    assert rates == {"device=eth0": [100.0], "device=lo": [7.0]}


def test_a_counter_is_drawn_as_its_rate_and_a_restart_as_nothing() -> None:
    energy = series_of(watched()).query("name == 'ENERGY a second'")["value"]
    assert set(energy.round(6)) == {700.0, 0.0} and (energy >= 0).all()


def test_it_stands_under_the_ttft_on_one_axis(sample_run: RunFolder) -> None:
    windows = over_time(sample_run)
    chart = watched_chart(windows, series_of(watched()), {"from_s": 60.0, "to_s": 900.0})
    spec = spec_of(chart)
    assert spec["resolve"]["scale"]["x"] == "shared" and len(spec["vconcat"]) == 3
    text = picture(chart, title="Watched", source="made up")
    assert "GPU_UTIL" in text and "14 min" in text and "made up" in text
    assert "GPU_UTIL" in watched_said(windows, series_of(watched()), {"from_s": 0.0, "to_s": 900.0})


def test_where_nothing_had_a_first_token_it_stands_alone(sample_run: RunFolder) -> None:
    windows = over_time(sample_run).assign(effective_ttft_s_p50=None, effective_ttft_s_p95=None)
    drawn = spec_of(watched_chart(windows, series_of(watched()), {"from_s": 60.0, "to_s": 900.0}))
    assert len(drawn["vconcat"]) == 2
    assert watched_said(windows, series_of(watched()), {"from_s": 60.0, "to_s": 900.0}) == ""


def test_nothing_watched_is_no_chart(sample_run: RunFolder) -> None:
    assert watched_chart(over_time(sample_run), series_of(None), None) is None
    assert series_of(SCHEMA.empty_table()).empty


def test_only_so_many_lines_are_drawn() -> None:
    rows = [
        (float(at_s), URL, "U", f"gpu={gpu}", False, float(at_s * gpu))
        for at_s in (0, 1)
        for gpu in range(12)
    ]
    table = pa.Table.from_pylist([dict(zip(SCHEMA.names, row, strict=True)) for row in rows], schema=SCHEMA)
    assert series_of(table)["line"].nunique() == 8


def test_a_run_gone_on_with_adds_to_what_was_watched(sample_run: RunFolder, tmp_path) -> None:
    folder = RunFolder(tmp_path)
    assert folder.watched() is None
    folder.write_watched(watched())
    folder.write_watched(watched())
    assert folder.watched().num_rows == 2 * watched().num_rows
