"""A server is looked at all through a run, whatever it answers."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from swarm.config.target import TargetConfig
from swarm.live.clock import SystemClock
from swarm.live.driver import server_watch
from swarm.live.driver.drive import seen_by
from swarm.live.driver.driver import RunEnd
from swarm.live.driver.server_watch import ServerWatch
from swarm.measure.server_time import restarts_s
from swarm.measure.totals import ServerCounters

WAIT_S_MAX = 20.0


class Page:
    """What the server answers under /metrics; None: HTTP 503."""

    def __init__(self) -> None:
        self.text: str | None = None
        self.asked = threading.Semaphore(0)

    def count(self, queries: int, hits: int, began_s: float) -> None:
        self.text = (
            f"vllm:prefix_cache_queries_total {queries}\nvllm:prefix_cache_hits_total {hits}\n"
            f"vllm:generation_tokens_total 1\nprocess_start_time_seconds {began_s}\n"
        )

    def wait(self, looks: int) -> None:
        """Return when so many more looks were answered."""
        while self.asked.acquire(blocking=False):
            pass
        for _ in range(looks):
            assert self.asked.acquire(timeout=WAIT_S_MAX)


@contextmanager
def answering(page: Page) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            text = page.text
            body = (text or "").encode()
            self.send_response(200 if text is not None else 503)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)
            page.asked.release()

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture(autouse=True)
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_watch, "EVERY_S_MIN", 0.01)


def test_a_server_that_is_away_and_begins_anew_is_seen_to() -> None:
    page = Page()
    page.count(1_000, 100, began_s=50.0)
    with answering(page) as url:
        watch = ServerWatch(TargetConfig(urls=(url,)), SystemClock(), every_s=0.01)
        began_s = time.time()
        watch.start()
        page.wait(2)
        page.count(1_500, 300, began_s=50.0)
        page.wait(2)
        page.text = None
        page.wait(2)
        # It has counted more than before by the time of the next look.
        page.count(2_000, 400, began_s=90.0)
        page.wait(2)
        samples = watch.stop(began_s)
    assert len(restarts_s(samples)) == 1
    assert all(0.0 <= sample.at_s < WAIT_S_MAX * 8 for sample in samples)
    end = RunEnd(1.0, (), ServerCounters("vllm", 1, 300, 1_000, 0), None, {})
    seen = seen_by(samples, end)
    assert seen.counters is not None
    assert (seen.counters.query_tokens, seen.counters.hit_tokens) == (500 + 2_000, 200 + 400)
    assert seen.server == samples


def test_a_server_that_goes_on_is_counted_as_before() -> None:
    end = RunEnd(1.0, (), ServerCounters("vllm", 1, 300, 1_000, 0), None, {})
    assert seen_by((), end) == end


def test_a_watch_that_was_never_started_has_seen_nothing() -> None:
    watch = ServerWatch(TargetConfig(urls=("http://127.0.0.1:9",)), SystemClock(), every_s=1.0)
    assert watch.stop(0.0) == ()
