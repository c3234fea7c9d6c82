"""Metrics of others, read from a page such as NVIDIA's DCGM exporter writes."""

import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from swarm.config.target import TargetConfig, WatchedConfig
from swarm.errors import ConfigError
from swarm.live.clock import SystemClock
from swarm.live.targets import watched
from swarm.live.targets.watched import SeriesWatch

PAGE = """# HELP DCGM_FI_DEV_GPU_UTIL GPU utilization (in %%).
# TYPE DCGM_FI_DEV_GPU_UTIL gauge
DCGM_FI_DEV_GPU_UTIL{gpu="0",UUID="GPU-aa",device="nvidia0",modelName="NVIDIA H100",Hostname="n1"} %d
DCGM_FI_DEV_GPU_UTIL{gpu="1",UUID="GPU-bb",device="nvidia1",modelName="NVIDIA H100",Hostname="n1"} 7
# TYPE DCGM_FI_DEV_FB_USED gauge
DCGM_FI_DEV_FB_USED{gpu="0",UUID="GPU-aa"} 71000
# TYPE DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION counter
DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION{gpu="0",UUID="GPU-aa"} 123456789
DCGM_FI_DEV_GPU_TEMP{gpu="0"} NaN
"""


class Exporter:
    """A page that counts how often it is read, and keeps the headers."""

    def __init__(self, status: int = 200) -> None:
        self.headers: list[dict[str, str]] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.headers.append(dict(self.headers))
                self.send_response(status)
                self.end_headers()
                self.wfile.write((PAGE % (90 + len(outer.headers))).encode())

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/metrics"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def read(self, *series: str, looks: int = 2) -> SeriesWatch:
        watch = SeriesWatch([WatchedConfig(url=self.url, series=series)], SystemClock(), every_s=0.01)
        watch.start()
        until = time.monotonic() + 5
        while len(self.headers) < looks and time.monotonic() < until:
            time.sleep(0.005)
        return watch


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watched, "EVERY_S_MIN", 0.01)


@pytest.fixture
def exporter(quick: None) -> Iterator[Exporter]:
    found = Exporter()
    yield found
    found.server.shutdown()


def test_what_is_named_is_kept_with_its_labels(exporter: Exporter) -> None:
    began_s = time.time()
    watch = exporter.read("DCGM_FI_DEV_GPU_UTIL", "*ENERGY*")
    rows = watch.stop(began_s).to_pylist()
    first = [(row["name"], row["labels"].split(",")[-1], row["is_counter"], row["value"]) for row in rows[:3]]
    assert first == [
        ("DCGM_FI_DEV_GPU_UTIL", "modelName=NVIDIA H100", False, 91.0),
        ("DCGM_FI_DEV_GPU_UTIL", "modelName=NVIDIA H100", False, 7.0),
        ("DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION", "gpu=0", True, 123456789.0),
    ]
    assert 0 <= rows[0]["at_s"] < rows[-1]["at_s"] < 10 and watch.told() == []


def test_no_key_is_sent_to_it(exporter: Exporter) -> None:
    exporter.read("*").stop(0.0)
    names = {name.lower() for name in exporter.headers[0]}
    assert not names & {"authorization", "x-api-key", "api-key"}


def test_what_is_no_number_is_left_out(exporter: Exporter) -> None:
    watch = exporter.read("DCGM_FI_DEV_GPU_TEMP")
    assert watch.stop(0.0).num_rows == 0
    assert watch.told() == [f"watched metrics: {exporter.url} has none of the series that are named"]


def test_a_page_that_refuses_is_told_once(quick: None) -> None:
    exporter = Exporter(status=503)
    watch = exporter.read("*")
    assert watch.stop(0.0).num_rows == 0
    (said,) = watch.told()
    assert said.startswith(f"watched metrics: {exporter.url} could not be read ") and said.endswith(
        "HTTP 503"
    )
    exporter.server.shutdown()


def test_nobody_is_asked_where_nothing_is_named() -> None:
    watch = SeriesWatch([], SystemClock(), every_s=1.0)
    watch.start()
    assert watch.stop(0.0).num_rows == 0 and watch.told() == []


def test_more_series_than_are_kept_are_said(exporter: Exporter, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watched, "SERIES_MAX", 2)
    watch = exporter.read("*", looks=1)
    watch.stop(0.0)
    assert watch.told() == [f"watched metrics: of {exporter.url} the first 2 series are kept"]


@pytest.mark.parametrize("url", ["gpu0:9400", "http://user:word@gpu0/metrics", "http://gpu0/m?api_key=x"])
def test_a_url_that_cannot_be_or_holds_a_key_is_refused(url: str) -> None:
    with pytest.raises((ConfigError, ValueError), match=r"URL|key"):
        TargetConfig(urls=("http://127.0.0.1:1",), watched=(WatchedConfig(url=url, series=("*",)),))


def test_a_long_run_keeps_the_words_of_a_series_once(exporter: Exporter) -> None:
    watch = exporter.read("DCGM_*", looks=4)
    rows = watch.stop(0.0).to_pylist()
    assert len(watch._series) == 4 and len(rows) >= 12
    assert [row["value"] for row in rows if row["labels"].startswith("Hostname=n1,UUID=GPU-aa")][:3] == [
        91,
        92,
        93,
    ]
