"""Metrics of others beside a run: Prometheus pages read once a window, such as a DCGM exporter's.

A thread of the driver's own reads them; what it cannot read is told at the end and costs the run nothing.
"""

from __future__ import annotations

import asyncio
import threading
from array import array
from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase

import httpx
import pyarrow as pa

from swarm.config.target import WatchedConfig
from swarm.errors import OutOfBounds
from swarm.live.clock import Clock
from swarm.live.targets.counters import TEXT_BYTES_MAX
from swarm.live.targets.exposition import matching
from swarm.live.targets.transport.bounded import exchange

EVERY_S_MIN = 1.0
TIMEOUT_S = 5.0
ENDING_S_MAX = 6.0
"""For a look under way at the end."""
SERIES_MAX = 256
"""Lines of one page that are kept; the first ones, of a page that has more."""
VALUES_MAX = 2_000_000
"""Kept in memory, 24 bytes each, until the run's end."""
SCHEMA = pa.schema(
    [
        pa.field("at_s", pa.float64()),
        pa.field("url", pa.string()),
        pa.field("name", pa.string()),
        pa.field("labels", pa.string()),
        pa.field("is_counter", pa.bool_()),
        pa.field("value", pa.float64()),
    ]
)
"""Of `watched.parquet`: a value as it was read, on the run's clock; of counters, their counts."""

Series = tuple[str, str, str, bool]
"""URL, name, labels, and whether it is a counter."""


class SeriesWatch:
    """The looks at the pages that a target names, from `start` to `stop`."""

    def __init__(self, pages: Sequence[WatchedConfig], clock: Clock, *, every_s: float) -> None:
        self._pages = pages
        self._clock = clock
        self._every_s = max(EVERY_S_MIN, every_s)
        self._over = threading.Event()
        self._series: dict[Series, int] = {}
        """Each series that was seen, and its place among them."""
        self._of, self._at_s, self._values = array("q"), array("d"), array("d")
        """Of each value: its series' place, when it was read, and what it is."""
        self._looks = dict.fromkeys((page.url for page in pages), 0)
        self._faults: dict[str, tuple[int, str]] = {}
        self._cut: set[str] = set()
        self._thread = threading.Thread(target=self._run, name="watched metrics", daemon=True)

    def start(self) -> None:
        """Take the first look now, in the thread; with no pages there is none."""
        if self._pages and self._thread.ident is None:
            self._thread.start()

    def end(self) -> None:
        """Take no further look."""
        self._over.set()

    def stop(self, start_unix_s: float) -> pa.Table:
        """Return what was read, on the clock of a run that began then, by `SCHEMA`."""
        self.end()
        if self._thread.ident is not None:
            self._thread.join(ENDING_S_MAX)
        # Of a look that is still under way, what is there whole: a value is the last that is added.
        count = len(self._values)
        of = pa.array(self._of[:count], pa.int64())
        series = list(self._series)
        described = [
            pa.array([each[at] for each in series], SCHEMA.field(at + 1).type).take(of) for at in range(4)
        ]
        at_s = pa.array([at_s - start_unix_s for at_s in self._at_s[:count]], pa.float64())
        return pa.table([at_s, *described, pa.array(self._values[:count], pa.float64())], schema=SCHEMA)

    def told(self) -> list[str]:
        """Return what a reader must know: pages that could not be read, or were not kept whole."""
        said = [
            f"watched metrics: {url} could not be read {count} of {self._looks[url]} times: {words}"
            for url, (count, words) in self._faults.items()
        ]
        silent = {page.url for page in self._pages} - {url for url, *_ in self._series} - set(self._faults)
        said += [f"watched metrics: {url} has none of the series that are named" for url in sorted(silent)]
        said += [
            f"watched metrics: of {url} the first {SERIES_MAX} series are kept" for url in sorted(self._cut)
        ]
        if len(self._values) >= VALUES_MAX:
            said.append(f"watched metrics: the first {VALUES_MAX:,} values are kept")
        return said

    def _run(self) -> None:
        asyncio.run(self._watch())

    async def _watch(self) -> None:
        # Keys are the target's own: these pages are sent none.
        async with httpx.AsyncClient(timeout=TIMEOUT_S, trust_env=False) as client:
            while not self._over.is_set() and len(self._values) < VALUES_MAX:
                began_s = self._clock.monotonic_s()
                await asyncio.gather(*(self._look(client, page) for page in self._pages))
                left_s = self._every_s - (self._clock.monotonic_s() - began_s)
                await asyncio.to_thread(self._over.wait, max(0.1 * self._every_s, left_s))

    async def _look(self, client: httpx.AsyncClient, page: WatchedConfig) -> None:
        self._looks[page.url] += 1
        try:
            answer = await exchange(client, "GET", page.url, bytes_max=TEXT_BYTES_MAX, timeout_s=TIMEOUT_S)
        except (httpx.HTTPError, httpx.InvalidURL, OutOfBounds) as fault:
            self._note(page.url, f"{type(fault).__name__}: {fault}")
            return
        if not answer.is_success:
            self._note(page.url, f"HTTP {answer.status_code}")
            return
        at_s = self._clock.unix_s()
        found = self._kept(page, answer.content.decode("utf-8", "replace"))
        for kept, (name, labels, is_counter, value) in enumerate(found):
            if kept == SERIES_MAX:
                self._cut.add(page.url)
                break
            series = page.url, name, labels, is_counter
            self._of.append(self._series.setdefault(series, len(self._series)))
            self._at_s.append(at_s)
            self._values.append(value)

    def _kept(self, page: WatchedConfig, text: str) -> Iterator[tuple[str, str, bool, float]]:
        def is_wanted(name: str) -> bool:
            return any(fnmatchcase(name, pattern) for pattern in page.series)

        for sample, is_counter in matching(text, is_wanted):
            labels = ",".join(f"{key}={value}" for key, value in sorted(sample.labels.items()))
            yield sample.name, labels, is_counter, sample.value

    def _note(self, url: str, words: str) -> None:
        count, first = self._faults.get(url, (0, words))
        self._faults[url] = (count + 1, first)
