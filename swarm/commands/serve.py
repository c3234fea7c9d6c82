"""`swarm serve`: a provider in the foreground, until a signal."""

from __future__ import annotations

import asyncio
import errno
import ipaddress
import os
import signal
import socket
import sys
from pathlib import Path

from swarm.config.fleet import FleetConfig
from swarm.errors import ConfigError, RunError
from swarm.live import collector
from swarm.provider.server import Provider


def serve(fleet: FleetConfig, *, host: str, port: int, key_env: str | None, journal: Path | None) -> int:
    """Serve until SIGINT or SIGTERM; return the exit code."""
    key = None if key_env is None else _key(key_env)
    provider = Provider(fleet, host=host, port=port, key=key, journal=journal)
    try:
        import uvloop

        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_serve(provider, host, port, fleet, has_key=key is not None))
    except ImportError:
        asyncio.run(_serve(provider, host, port, fleet, has_key=key is not None))
    return 0


async def _serve(provider: Provider, host: str, port: int, fleet: FleetConfig, *, has_key: bool) -> None:
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopped.set)
    try:
        await provider.start()
    except OSError as error:
        raise RunError(_why(error, host, port)) from None
    # What is remembered of prompts is half a million objects: one look at all of them stops every stream.
    collector.settle()
    if not _is_loopback(host):
        whoever = "whoever has the key" if has_key else "anyone who reaches it: give it a key (--api-key-env)"
        print(f"swarm: warning: {host} is not a loopback address; it serves {whoever}", file=sys.stderr)
    shown = f"[{host}]" if ":" in host else host
    replicas = sum(group.count for group in fleet.replicas)
    print(f"swarm: serving fleet {fleet.name!r}, {replicas} replica(s); stop with Ctrl-C", file=sys.stderr)
    print(f"http://{shown}:{provider.port}", flush=True)
    try:
        await stopped.wait()
    finally:
        await provider.close()


def _why(error: OSError, host: str, port: int) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"serve: {host}:{port} is in use; name another --port, or 0 for any free one"
    if isinstance(error, socket.gaierror) or error.errno == errno.EADDRNOTAVAIL:
        return f"serve: --host {host} is no address of this machine ({error.strerror})"
    return f"serve: cannot listen on {host}:{port}: {error.strerror or error}"


def _key(name: str) -> str:
    key = os.environ.get(name, "").strip()
    if not key:
        raise ConfigError(f"--api-key-env names {name!r}, which is not set; export it first")
    return key


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
