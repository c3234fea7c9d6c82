"""What the recording proxy adds: to each event of a stream, to the first after a long prompt; what it costs.

    python benchmarks/capture.py [--streams 200] [--per-s 20] [--seconds 10] [--spread-s 5]

A server writes into each event when it sent it; the client takes the kernel's stamp of its arrival, so that
neither the client's delay nor the server's is in a figure. The same is measured without the proxy in between,
and the difference of quantiles is what the proxy adds. CPU is that of the proxy's two processes.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import re
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import uvloop

from swarm.live.targets.transport.readiness import readiness
from swarm.live.targets.transport.receive_times import ANCILLARY_BYTES, enable, lag_s

TICKS = os.sysconf("SC_CLK_TCK")
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
STAMP = re.compile(rb'"content":"([0-9.]+)"')
LENGTH = re.compile(rb"content-length: ([0-9]+)", re.I)
END = b'data: {"choices":[{"delta":{},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n'


class Server(asyncio.Protocol):
    """Answers a request with events at a rate; the first at once, the others spread over the second."""

    per_s = 20.0
    events = 100

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        self._asked = b""
        self._size = 0
        self._got = 0

    def data_received(self, data: bytes) -> None:
        if not self._size:
            self._asked += data
            head, gap, body = self._asked.partition(b"\r\n\r\n")
            if not gap:
                return
            found = LENGTH.search(head)
            assert found is not None
            self._size, self._got, self._asked = int(found[1]), 0, b""
            data = body
        self._got += len(data)
        if self._got >= self._size:
            self._size, self._left = 0, self.events
            self._transport.write(HEAD)
            self._next()

    def _next(self) -> None:
        if self._transport.is_closing():
            return
        if not self._left:
            self._write(END)
            self._transport.write(b"0\r\n\r\n")
            return
        self._left -= 1
        self._write(b'data: {"choices":[{"delta":{"content":"%.7f"}}]}\n\n' % time.time())
        asyncio.get_running_loop().call_later(1 / self.per_s, self._next)

    def _write(self, data: bytes) -> None:
        self._transport.write(b"%x\r\n%b\r\n" % (len(data), data))


class Client:
    """One stream: how long each event was on its way, how long the first took."""

    def __init__(self, port: int, request: bytes, ended: Any) -> None:
        self._sock = socket.create_connection(("127.0.0.1", port))
        self._sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        enable(self._sock)
        self._request = request
        self._ended = ended
        self.lags: list[float] = []
        self.first_s = 0.0

    def go(self, ready: Any) -> None:
        self._ready = ready
        self._began_s = time.time()
        # Blocking: the request is on its way as fast as the other side takes it.
        self._sock.sendall(self._request)
        self._sock.setblocking(False)
        ready.add(self._sock.fileno(), self._readable)

    def _readable(self) -> None:
        data, ancillary, _, _ = self._sock.recvmsg(1 << 16, ANCILLARY_BYTES)
        at_s = time.time() - (lag_s(ancillary) if ancillary else 0.0)
        for found in STAMP.finditer(data):
            self.lags.append(at_s - float(found[1]))
            self.first_s = self.first_s or at_s - self._began_s
        if data.endswith(b"0\r\n\r\n") or not data:
            self._ready.remove(self._sock.fileno())
            self._sock.close()
            self._ended()


async def measure(port: int, streams: int, request: bytes, spread_s: float) -> tuple[Any, Any]:
    """Return how long events were on their way, and how long first ones took, in seconds."""
    loop = asyncio.get_running_loop()
    done, left, ready = loop.create_future(), [streams], readiness()

    def ended() -> None:
        left[0] -= 1
        if not left[0]:
            done.set_result(None)

    clients = [Client(port, request, ended) for _ in range(streams)]
    for client in clients:
        client.go(ready)
        await asyncio.sleep(spread_s / streams)
    await done
    ready.close()
    # The first events come while requests are still sent: they are the other figure.
    return np.concatenate([c.lags[1:] for c in clients]), np.array([c.first_s for c in clients])


def request_of(size: int) -> bytes:
    """Return a request of about so many bytes."""
    body = b'{"model":"m","stream":true,"messages":[{"role":"user","content":"%b"}]}' % (
        b"word " * (size // 5)
    )
    head = b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer key\r\n"
    return b"%bContent-Length: %d\r\n\r\n%b" % (head, len(body), body)


def cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def begun(*command: str) -> tuple[subprocess.Popen[str], int]:
    """Start a process that prints its URL, or its port."""
    process = subprocess.Popen(
        [sys.executable, *command], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    assert process.stdout is not None
    return process, int(process.stdout.readline().strip().rpartition(":")[2])


async def serve(per_s: float, events: int) -> None:
    Server.per_s, Server.events = per_s, events
    server = await asyncio.get_running_loop().create_server(Server, "127.0.0.1", 0, backlog=4096)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


def shown(values: Any) -> str:
    p50, p90, p99 = np.quantile(values, (0.5, 0.9, 0.99)) * 1e3
    return f"p50 {p50:7.3f}  p90 {p90:7.3f}  p99 {p99:7.3f} ms"


def compare(options: argparse.Namespace) -> None:
    events = max(2, int(options.per_s * options.seconds))
    server, port = begun(__file__, "--serve", "--per-s", str(options.per_s), "--events", str(events))
    with tempfile.TemporaryDirectory() as folder:
        main = "from swarm.cli import main; main()"
        upstream = f"http://127.0.0.1:{port}"
        proxy, front = begun("-c", main, "capture", "--upstream", upstream, "--out", folder, "--port", "0")
        try:
            request = request_of(options.prompt_bytes)
            found: dict[str, list[tuple[Any, Any]]] = {}
            for name, where in (("direct", port), ("through", front)) * options.repeats:
                scribes = children(proxy.pid)
                before = cpu_s(proxy.pid), sum(map(cpu_s, scribes))
                began_s = time.monotonic()
                lags, firsts = uvloop.run(measure(where, options.streams, request, options.spread_s))
                lasted_s = time.monotonic() - began_s
                own, scribe = cpu_s(proxy.pid) - before[0], sum(map(cpu_s, scribes)) - before[1]
                found.setdefault(name, []).append((lags, firsts))
                print(f"{name:8} events {shown(lags)}; first {shown(firsts)}", end="")
                each_us = own / len(lags) * 1e6
                share = f"; CPU {own / lasted_s:.0%} + {scribe / lasted_s:.0%}, {each_us:.1f} us an event"
                print(share if name == "through" else "", flush=True)
            for place, kind in enumerate(("events", "first events")):
                one, other = (
                    np.concatenate([each[place] for each in found[name]]) for name in ("direct", "through")
                )
                added = (np.quantile(other, (0.5, 0.99)) - np.quantile(one, (0.5, 0.99))) * 1e3
                print(f"added to {kind}: p50 {added[0]:.3f} ms, p99 {added[1]:.3f} ms")
        finally:
            for process in (proxy, server):
                process.terminate()
                process.wait()


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--streams", type=int, default=200)
    parser.add_argument("--per-s", type=float, default=20.0)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--prompt-bytes", type=int, default=400_000)
    parser.add_argument("--spread-s", type=float, default=5.0, help="Requests begin over so many seconds.")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--events", type=int, default=0, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        uvloop.run(serve(options.per_s, options.events))
    else:
        compare(options)


if __name__ == "__main__":
    main()
