"""What a request and a token cost this client, and how far its times are off.

    python benchmarks/client.py --mock PATH [--case NAME]...

PATH is a native mock server, or its C++ source, which is then built with g++. The client is pinned to the
first core and the mock to the last. CPU is user and system time of this process; errors are against the send
times that the mock reports itself. Every request is a whole turn of a program: rendered, sent, read, written
into a row and into sketches, and reported in a batch every second.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import os
import platform
import resource
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Coroutine, Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn
from urllib.parse import urlsplit

import httptools
import numpy as np
import pyarrow as pa
import uvloop
from floor import connect

from swarm.config.target import TargetConfig
from swarm.context.tree import Prompt, root
from swarm.live import collector
from swarm.live.clock import RunClock
from swarm.live.interpreter import Interpreter
from swarm.live.ledger import HostLedger
from swarm.live.loop_lag import LoopLag
from swarm.live.targets.openai import OpenAITarget
from swarm.live.targets.reading.delta import Reading
from swarm.live.targets.turn import Turn, TurnResult
from swarm.measure.latency import effective_ttft_s
from swarm.measure.window import Windows
from swarm.records.batch import Batch
from swarm.records.rows import from_message, warm_up
from swarm.workload.effects import Agent, Effect, Infer, Think

PROMPT_GROWS_TOKENS = 1000
"""By so much a prompt grows before its agent starts again: bodies of 2 to 6 KB, as in peers' benchmarks."""

TRUTHS: dict[int, dict[str, Any]] = {}
"""What the mock reported, by the identity of the turn's result."""


def listen_to_the_mock() -> None:
    """Let decoded usage events leave their `mock` member in TRUTHS."""
    reading: Any = Reading
    take = reading.take
    if take.__name__ == "take_and_file":
        return

    def take_and_file(self: Any, event: bytes) -> bool:
        if b'"mock":' in event:
            TRUTHS[id(self._result)] = json.loads(event)["mock"]
        return bool(take(self, event))

    reading.take = take_and_file


@dataclass
class Mock:
    """The mock server's process."""

    process: subprocess.Popen[bytes]
    url: str

    @property
    def port(self) -> int:
        port = urlsplit(self.url).port
        assert port is not None
        return port

    def configure(self, **settings: int) -> None:
        query = "&".join(f"{key}={value}" for key, value in settings.items())
        urllib.request.urlopen(f"{self.url}/config?{query}").read()

    def stats(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(urllib.request.urlopen(f"{self.url}/stats").read())
        return found

    def reset(self) -> None:
        urllib.request.urlopen(f"{self.url}/reset").read()


def refuse(sentence: str) -> NoReturn:
    """End with what was asked, what was found and what to do."""
    print(sentence, file=sys.stderr)
    raise SystemExit(2)


def start_mock(path: Path) -> Mock:
    if not path.is_file():
        refuse(f"--mock {path}: no such file; name a native mock server, or its C++ source")
    if path.suffix == ".cpp":
        path = compiled(path)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    try:
        process = subprocess.Popen([path.absolute(), "--port", str(port)], stderr=subprocess.DEVNULL)
    except OSError as fault:
        refuse(f"--mock {path}: cannot be run: {fault.strerror}; name a program, or its C++ source (.cpp)")
    warm_up()
    os.sched_setaffinity(process.pid, {max(os.sched_getaffinity(0))})
    url = f"http://127.0.0.1:{port}"
    for _ in range(100):
        try:
            urllib.request.urlopen(f"{url}/health").read()
            return Mock(process, url)
        except OSError:
            time.sleep(0.02)
    process.kill()
    refuse(f"--mock {path}: does not answer on port {port}; is it the mock server?")


def compiled(source: Path) -> Path:
    """Return the program that g++ makes of a source."""
    if shutil.which("g++") is None:
        refuse(f"--mock {source}: g++ compiles it, and is not installed; install it, or name a program")
    binary = Path(tempfile.gettempdir()) / "swarm-mock-server"
    made = subprocess.run(
        ["g++", "-O2", "-std=c++17", "-o", binary, source], stderr=subprocess.PIPE, text=True
    )
    if made.returncode:
        first = next((line for line in made.stderr.splitlines() if "error" in line), "it gave no reason")
        refuse(f"--mock {source}: g++ does not compile it: {first}")
    return binary


def cpu_s() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


class Watcher:
    """A target that keeps the results of the one behind it, for the tables."""

    def __init__(self, target: OpenAITarget, keep: bool) -> None:
        self._target = target
        self._keep = keep
        self.results: list[TurnResult] = []
        self.failed = 0

    async def send(self, turn: Turn) -> TurnResult:
        result = await self._target.send(turn)
        if result.outcome != "ok":
            self.failed += 1
            if self.failed == 1:
                print("first failure:", result.outcome, result.error)
        elif self._keep:
            self.results.append(result)
        return result

    async def close(self) -> None:
        await self._target.close()


class Floor:
    """A host's hot path as a run has it: programs, interpreter, target, rows, sketches, a batch a second."""

    def __init__(self, url: str, api: str, keep: bool) -> None:
        if keep:
            listen_to_the_mock()
        config = TargetConfig(urls=(url,), model="mock", api=api)
        self.target = Watcher(OpenAITarget(config=config, seed=1), keep)
        self.clock = RunClock(time.time())
        self.lag = LoopLag()
        self.ledger = HostLedger(
            clock=self.clock, host=0, epoch=0, block_tokens=64, journal=None, lag=self.lag,
            windows=Windows(window_s=1.0, origin_s=0.0), takeover=None, follows=(), objectives=(),
        )  # fmt: skip
        self.interpreter = Interpreter(
            clock=self.clock,
            target=self.target,
            ledger=self.ledger,
            host=0,
            measured_from_s=0.0,
            resumption=None,
            gate=None,
        )
        self.batch_bytes = 0
        self.batches: list[Batch] = []
        self._keep = keep
        self._reporter: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Floor:
        self.lag.start()
        self._reporter = asyncio.create_task(self._report())
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._reporter is not None
        self._reporter.cancel()
        self.lag.stop()
        await self.target.close()

    async def run(
        self,
        prompt: Prompt,
        name: str,
        tokens: int,
        more: Callable[[], bool],
        echo: bool,
        start_s: float = 0.0,
    ) -> None:
        """One agent that asks again as soon as it is answered, while there is `more` to do."""

        def program() -> Generator[Effect, Any, None]:
            place = prompt
            while more():
                inferred = yield Infer(place, tokens, echo=echo)
                if inferred.reply is not None:
                    place.node.echo(place.length, place.length + tokens, inferred.reply)
                place = place.extend(tokens + 20)
                if place.length > prompt.length + PROMPT_GROWS_TOKENS:
                    place = prompt.branch(f"{name}/{inferred.completed_s}")

        await self.interpreter.run(Agent(name, name, None, "worker", program), self.clock.now_s() + start_s)

    async def _report(self) -> None:
        while True:
            await asyncio.sleep(1.0)
            batch = self.ledger.take()
            if self._keep:
                self.batches.append(batch)
            self.batch_bytes += len(batch.rows) + len(batch.windows) + len(batch.itl)


def countdown(count: int) -> tuple[Callable[[], bool], list[int]]:
    left = [count]

    def more() -> bool:
        left[0] -= 1
        return left[0] >= 0

    return more, left


def prompts_of(streams: int) -> list[Prompt]:
    return [root("shared").extend(500).branch(f"s{k}").extend(100) for k in range(streams)]


async def ask(floor: Floor, streams: int, tokens: int, requests: int, echo: bool) -> None:
    """Let `streams` agents send `requests` in all, each as soon as its last one is answered."""
    more, _ = countdown(requests)
    prompts = enumerate(prompts_of(streams))
    await asyncio.gather(*(floor.run(prompt, f"s{k}", tokens, more, echo) for k, prompt in prompts))


async def work(url: str, streams: int, tokens: int, requests: int) -> None:
    """The work of `peers.py`, in a process of its own."""
    async with Floor(url, "completions", False) as floor:
        collector.settle()
        await ask(floor, streams, tokens, requests, False)
        assert not floor.target.failed


async def burst(mock: Mock, streams: int, tokens: int, requests: int, echo: bool = False) -> str:
    """All tokens at once, `streams` agents that ask without thinking."""
    mock.configure(itl_us=0, ttft_us=0, burst=0, stamp=0)
    best = math.inf, math.inf
    for _ in range(3):
        async with Floor(mock.url, "completions", False) as floor:
            for count in (streams * 2, requests):
                collector.settle()
                before, wall = cpu_s(), time.monotonic()
                await ask(floor, streams, tokens, count, echo)
                used, wall = cpu_s() - before, time.monotonic() - wall
            assert not floor.target.failed
        best = min(best, (used, wall))
    used, wall = best
    return (
        f"{used / requests * 1e6:7.1f} us/request  {used / requests / tokens * 1e6:6.2f} us/event  "
        f"{used / requests * 1e3:.3f} CPU s/1,000  {requests / wall:8.0f} requests/s"
    )


async def paced(mock: Mock, streams: int, seconds: float, errors: bool) -> str:
    """Streams of 20 tokens a second, always open."""
    tokens, ttft_us, itl_us = 100, 100_000, 50_000
    mock.configure(itl_us=itl_us, ttft_us=ttft_us, burst=0, stamp=int(errors))
    async with Floor(mock.url, "completions", errors) as floor:
        collector.settle()
        stop = time.monotonic() + 6.0 + seconds
        base = resident_bytes()
        tasks = [
            asyncio.create_task(
                floor.run(prompt, f"s{k}", tokens, lambda: time.monotonic() < stop, False, 5.0 * k / streams)
            )
            for k, prompt in enumerate(prompts_of(streams))
        ]
        await asyncio.sleep(6.0)
        memory = (resident_bytes() - base) / streams
        mock.reset()
        started = (await asyncio.to_thread(mock.stats))["tokens"]
        before, wall = cpu_s(), time.monotonic()
        await asyncio.sleep(seconds)
        used, wall, stats = cpu_s() - before, time.monotonic() - wall, await asyncio.to_thread(mock.stats)
        events = stats["tokens"] - started
        await asyncio.gather(*tasks)
    text = (
        f"{used / events * 1e6:6.2f} us/event  {used / wall * 100:5.1f} % of a core  "
        f"{events / wall / streams:5.2f} events/s/stream  {memory / 1024:5.1f} KB/stream  "
        f"failed {floor.target.failed}  mock late p99 <= {stats['late_p99_us_le']} us"
    )
    if errors:
        text += "\n" + error_table(floor.target.results)
    return text


def error_table(results: list[TurnResult]) -> str:
    """Our times against the mock's."""
    ttft, itl, merged = [], [], 0
    for result in results:
        truth = TRUTHS.pop(id(result), None)
        if truth is None or result.sent_s is None or result.first_token_s is None:
            continue
        sent = np.array(truth["sent_us"]) * 1e-6
        times = np.frombuffer(result.token_times)
        ttft.append((result.first_token_s - result.sent_s) - sent[0])
        gaps, true_gaps = np.diff(times), np.diff(sent)
        alone = np.concatenate(([False], gaps == 0, [False]))
        # A gap is whole if neither of its ends shares a read with another delta.
        exact = ~(alone[:-2] | alone[1:-1] | alone[2:]) if len(gaps) else np.zeros(0, bool)
        merged += int((~exact).sum())
        itl.append(np.abs(gaps - true_gaps)[exact])
    gaps = np.concatenate(itl)
    ttft_ms = np.abs(np.array(ttft)) * 1e3
    return (
        f"      TTFT error ms: p50 {np.percentile(ttft_ms, 50):.3f} p99 {np.percentile(ttft_ms, 99):.3f} "
        f"max {ttft_ms.max():.3f} ({len(ttft)} turns)   ITL error ms: "
        f"p50 {np.percentile(gaps, 50) * 1e3:.3f} p99 {np.percentile(gaps, 99) * 1e3:.3f} "
        f"max {gaps.max() * 1e3:.3f} ({len(gaps)} gaps, {merged} merged)"
    )


async def long_prompt(mock: Mock, api: str) -> str:
    """Turns of 128k tokens, one after the other; 500 are new since the agent's previous turn."""
    mock.configure(itl_us=0, ttft_us=0, burst=0, stamp=0)
    best = math.inf, math.inf
    for _ in range(5):
        async with Floor(mock.url, api, False) as floor:
            for count in (50, 200):
                prompt = root("shared").extend(15_000).branch("agent").extend(113_000)
                more, _ = countdown(count)

                def program(
                    prompt: Prompt = prompt, more: Callable[[], bool] = more
                ) -> Generator[Effect, Any, None]:
                    sign = 1
                    while more():
                        yield Infer(prompt, 1, echo=False)
                        # To and fro, so that all turns are of one length.
                        prompt, sign = prompt.extend(500 * sign), -sign

                before, wall = cpu_s(), time.monotonic()
                await floor.interpreter.run(Agent("s", "s", None, "worker", program), floor.clock.now_s())
                used, wall = cpu_s() - before, time.monotonic() - wall
            assert not floor.target.failed
        best = min(best, (used, wall))
    return f"{best[0] / 200 * 1e3:6.3f} ms CPU/turn  {best[1] / 200 * 1e3:6.3f} ms wall/turn"


async def fresh_prompts(mock: Mock, tokens: int, new_share: float) -> str:
    """Prompts of one length for one output token each, as prefill is measured: a share of each is new."""
    mock.configure(itl_us=0, ttft_us=0, burst=0, stamp=0)
    best = math.inf
    new = round(tokens * new_share)
    for _ in range(3):
        async with Floor(mock.url, "chat", False) as floor:
            for count in (100, 400):
                base = root("shared").extend(tokens - new)

                def program(base: Prompt = base, count: int = count) -> Generator[Effect, Any, None]:
                    for turn in range(count):
                        yield Infer(base.branch(f"{count}/{turn}").extend(new), 1, echo=False)

                before = cpu_s()
                await floor.interpreter.run(Agent("s", "s", None, "worker", program), floor.clock.now_s())
                used = cpu_s() - before
            assert not floor.target.failed
        best = min(best, used / 400)
    return f"{best * 1e6:7.1f} us/request  {best / tokens * 1e9:6.2f} ns a token of the prompt"


async def floor_burst(mock: Mock, streams: int, tokens: int, requests: int) -> str:
    """The floor's cost of the same burst."""
    mock.configure(itl_us=0, ttft_us=0, burst=0, stamp=0)
    best = math.inf
    for _ in range(3):
        more, _ = countdown(requests)
        counters, done = await connect(mock.port, streams, tokens, more)
        before = cpu_s()
        for counter in counters:
            counter.go()
        await done
        used = cpu_s() - before
        best = min(best, used)
    return f"{best / requests * 1e6:7.1f} us/request   (the least that asyncio and httptools can do)"


async def floor_paced(mock: Mock, streams: int, seconds: float) -> str:
    """The floor's cost of the same paced streams."""
    mock.configure(itl_us=50_000, ttft_us=100_000, burst=0, stamp=0)
    stop = time.monotonic() + 6.0 + seconds
    counters, done = await connect(mock.port, streams, 100, lambda: time.monotonic() < stop)
    for place, counter in enumerate(counters):
        asyncio.get_running_loop().call_later(5.0 * place / streams, counter.go)
    await asyncio.sleep(6.0)
    before, wall, began = cpu_s(), time.monotonic(), sum(counter.events for counter in counters)
    await asyncio.sleep(seconds)
    used, wall = cpu_s() - before, time.monotonic() - wall
    events = sum(counter.events for counter in counters) - began
    await done
    return f"{used / events * 1e6:6.2f} us/event  {used / wall * 100:5.1f} % of a core   (the floor)"


async def agents(mock: Mock, count: int, think_s: float, seconds: float) -> str:
    """Live agents that think between turns, against a server that takes 200 ms to its first token."""
    ttft_us = 200_000
    mock.configure(itl_us=20_000, ttft_us=ttft_us, burst=0, stamp=0)
    async with Floor(mock.url, "completions", True) as floor:
        stop = time.monotonic() + seconds

        def program(prompt: Prompt) -> Generator[Effect, Any, None]:
            while time.monotonic() < stop:
                yield Infer(prompt, 20, echo=False)
                yield Think(think_s)

        async def one(place: int, prompt: Prompt) -> None:
            agent = Agent(f"s{place}", f"s{place}", None, "worker", lambda: program(prompt))
            await floor.interpreter.run(agent, floor.clock.now_s() + think_s * place / count)

        await asyncio.gather(*(one(place, prompt) for place, prompt in enumerate(prompts_of(count))))
        batch = floor.ledger.take()
        rows = [from_message(each.rows) for each in (*floor.batches, batch)]
    everything = pa.concat_tables(rows)
    # Batches hold provisional rows of open requests, too.
    table = everything.filter(pa.compute.equal(everything.column("outcome"), "ok"))
    added_ms = (effective_ttft_s(table) - ttft_us / 1e6) * 1e3
    return (
        f"{table.num_rows / seconds:5.1f} requests/s   added to a TTFT of {ttft_us / 1e3:.0f} ms: "
        f"p50 {np.median(added_ms):.2f} ms, p99 {np.percentile(added_ms, 99):.2f} ms"
    )


CASES: dict[str, Callable[[Mock], Coroutine[Any, Any, str]]] = {
    "burst-16-64": lambda mock: burst(mock, 64, 16, 20_000),
    "burst-16-4096": lambda mock: burst(mock, 4096, 16, 40_000),
    "burst-16-64-echo": lambda mock: burst(mock, 64, 16, 20_000, echo=True),
    "burst-64-64": lambda mock: burst(mock, 64, 64, 10_000),
    "burst-256-64": lambda mock: burst(mock, 64, 256, 3_000),
    "ids-128k": lambda mock: long_prompt(mock, "token_ids"),
    "chat-128k": lambda mock: long_prompt(mock, "chat"),
    "prompts-32k": lambda mock: fresh_prompts(mock, 32_000, 0.1),
    "prompts-32k-new": lambda mock: fresh_prompts(mock, 32_000, 1.0),
    "prompts-1k": lambda mock: fresh_prompts(mock, 1_000, 0.1),
    "floor-16-64": lambda mock: floor_burst(mock, 64, 16, 20_000),
    "floor-64-64": lambda mock: floor_burst(mock, 64, 64, 10_000),
    "floor-paced-512": lambda mock: floor_paced(mock, 512, 10),
    "floor-paced-2000": lambda mock: floor_paced(mock, 2000, 10),
    "agents-200": lambda mock: agents(mock, 200, 9.4, 40),
    "paced-64": lambda mock: paced(mock, 64, 10, True),
    "paced-512": lambda mock: paced(mock, 512, 10, True),
    "paced-2000": lambda mock: paced(mock, 2000, 10, True),
    "paced-5000": lambda mock: paced(mock, 5000, 10, False),
}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--mock", type=Path, required=True)
    parser.add_argument("--case", action="append", choices=list(CASES))
    parser.add_argument("--loop", choices=["uvloop", "asyncio"], default="uvloop")
    options = parser.parse_args()
    mock = start_mock(options.mock)
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    print(
        f"Python {platform.python_version()}, uvloop {uvloop.__version__}, "
        f"httptools {httptools.__version__}, "
        f"Linux {platform.release()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}"
    )
    runner = uvloop.run if options.loop == "uvloop" else asyncio.run
    try:
        for name in options.case or CASES:
            print(f"{name:16} {runner(CASES[name](mock))}", flush=True)
    finally:
        mock.process.kill()


if __name__ == "__main__":
    main()
