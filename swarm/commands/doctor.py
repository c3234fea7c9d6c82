"""`swarm doctor`: what would spoil a run on this machine, or at this server, each with what to do."""

from __future__ import annotations

import os
import resource
import shutil
import socket
import ssl
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Literal

from swarm.config.base_url import base_url
from swarm.config.read import target_of
from swarm.config.target import TargetConfig
from swarm.errors import ConfigError, RunError
from swarm.interrupts import Interrupts
from swarm.live.look import Looked, look_at
from swarm.live.targets.transport.proxy import proxy_of
from swarm.live.targets.transport.tls import client_context
from swarm.live.targets.usable import check_target
from swarm.records.origin import versions

Verdict = Literal["ok", "note", "mend"]
FILES_LEAST = 8_192
"""Open files for some thousand connections."""
RAY_PORTS = (6379, 8265)
CONNECT_S = 5.0
LAG_MAX_S = 0.02
LAG_TRIES = 50
PROXIES = ("https_proxy", "http_proxy", "all_proxy", "HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY")


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at."""

    verdict: Verdict
    what: str
    found: str
    remedy: str = ""


def doctor(target: Mapping[str, Any] | None, overrides: Sequence[str]) -> int:
    """Print a line for everything that was looked at; return 1 where something must be mended, else 0."""
    is_well = True
    for finding in _all(target, overrides):
        is_well &= finding.verdict != "mend"
        line = f"{finding.verdict:<5} {finding.what:<14} {finding.found}"
        print(f"{line}: {finding.remedy}" if finding.remedy else line, flush=True)
    return 0 if is_well else 1


def _all(target: Mapping[str, Any] | None, overrides: Sequence[str]) -> Iterator[Finding]:
    yield from machine()
    if target is not None:
        yield from server(target, overrides)


def machine() -> Iterator[Finding]:
    """Yield what is found of this machine."""
    yield _ray()
    yield from _ports()
    yield _files()
    yield _clock()
    yield _cores()
    yield _compiler()


def _ray() -> Finding:
    try:
        found = version("ray")
    except PackageNotFoundError:
        return Finding("mend", "Ray", "not installed", "pip install 'ray[default]'")
    address = os.environ.get("RAY_ADDRESS")
    where = f", to be joined at RAY_ADDRESS={address}" if address else ", started by each run"
    if address and address not in ("local", "auto"):
        host, _, port = address.rpartition("://")[2].partition(":")
        if port.isdigit() and not _listens(host, int(port)):
            return Finding(
                "mend",
                "Ray",
                f"{found}; nothing listens at RAY_ADDRESS={address}",
                "start it, or unset RAY_ADDRESS",
            )
    return Finding("ok", "Ray", found + where)


def _ports() -> Iterator[Finding]:
    try:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
    except OSError as fault:
        yield Finding(
            "mend", "ports", f"none can be bound: {fault.strerror}", "allow processes to listen locally"
        )
        return
    taken = [port for port in RAY_PORTS if _listens("127.0.0.1", port)]
    if taken:
        listed = ", ".join(map(str, taken))
        yield Finding(
            "note", "ports", f"{listed} in use", "a Ray cluster is likely there: RAY_ADDRESS=auto joins it"
        )
    else:
        yield Finding("ok", "ports", "free ones can be bound")


def _listens(host: str, port: int) -> bool:
    try:
        with socket.create_connection((host or "127.0.0.1", port), timeout=1.0):
            return True
    except OSError:
        return False


def _files() -> Finding:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= FILES_LEAST:
        return Finding("ok", "open files", "no limit" if soft == resource.RLIM_INFINITY else f"{soft:,}")
    verdict: Verdict = "note" if soft >= 1_024 else "mend"
    return Finding(
        verdict, "open files", f"{soft:,} at most, for as many connections", f"ulimit -n {min(hard, 65_536)}"
    )


def _clock() -> Finding:
    if not 2024 <= datetime.now(UTC).year < 2100:
        return Finding("mend", "clock", f"{datetime.now(UTC):%Y-%m-%d}", "set the machine's clock (NTP)")
    worst_s = 0.0
    for _ in range(LAG_TRIES):
        begun_s = time.monotonic()
        time.sleep(0.001)
        worst_s = max(worst_s, time.monotonic() - begun_s - 0.001)
    found = f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC; wakes up to {worst_s * 1e3:.1f} ms late"
    if worst_s > LAG_MAX_S:
        return Finding(
            "note",
            "clock",
            found,
            "other work takes the cores: a run here may measure itself; stop it, or run elsewhere",
        )
    return Finding("ok", "clock", found)


def _cores() -> Finding:
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    busy = os.getloadavg()[0]
    found = f"{count}, load {busy:.1f}"
    if count < 2:
        return Finding("note", "cores", found, "hosts and driver share one: few agents can be driven in time")
    if busy > count:
        return Finding("note", "cores", found, "other work takes them: stop it before a live run")
    return Finding("ok", "cores", found)


def _compiler() -> Finding:
    build = versions()["build"]
    if build == "compiled":
        return Finding("ok", "compiled", "what a simulated request costs is compiled")
    compiler = next((name for name in ("cc", "gcc", "clang") if shutil.which(name)), None)
    if compiler is None:
        return Finding(
            "note",
            "compiler",
            "none, and swarm is not compiled",
            "simulations take twice the CPU: install a C compiler, then swarm again",
        )
    return Finding(
        "note",
        "compiler",
        f"{compiler}, but swarm is not compiled",
        "simulations take twice the CPU: pip install . compiles it",
    )


def server(data: Mapping[str, Any], overrides: Sequence[str] = ()) -> Iterator[Finding]:
    """Yield what is found of a server, up to the first thing without which the rest cannot be seen."""
    try:
        target = target_of(data, overrides, "swarm doctor")
        check_target(target)
    except ConfigError as fault:
        yield Finding("mend", "target", str(fault).replace("\n", " "))
        return
    place = base_url(target.urls[0])
    proxy = proxy_of(target.urls[0], target.proxy)
    if proxy is not None:
        yield Finding("ok", "proxy", f"{proxy.url} is asked for {place.origin}")
    elif any(os.environ.get(name) for name in PROXIES):
        yield Finding("ok", "proxy", f"{place.host} is asked directly, past the environment's proxy")
    dialled = place if proxy is None else proxy
    host, port = dialled.host, dialled.port
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as fault:
        yield Finding("mend", "DNS", f"{host}: {fault}", "check the host's name")
        return
    yield Finding("ok", "DNS", f"{host} is {found[0][4][0]}")
    try:
        with socket.create_connection((host, port), timeout=CONNECT_S) as connection:
            yield Finding("ok", "connection", f"port {port} accepts")
            if place.secure and proxy is None:
                secured = _tls(connection, host, target)
                yield secured
                if secured.verdict == "mend":
                    return
    except OSError as fault:
        words = fault.strerror or str(fault)
        yield Finding(
            "mend",
            "connection",
            f"{host}:{port}: {words}",
            "is the server running, and is the port right?"
            if proxy is None
            else "is the proxy right? target.proxy, and no_proxy in the environment, go past it",
        )
        return
    yield from _answers(target)


def _tls(connection: socket.socket, host: str, target: TargetConfig) -> Finding:
    context = client_context(target.ca_file, verify=target.verify)
    try:
        with context.wrap_socket(connection, server_hostname=host) as secured:
            return Finding("ok", "TLS", secured.version() or "")
    except ssl.SSLCertVerificationError as fault:
        return Finding(
            "mend",
            "TLS",
            fault.verify_message,
            "name the certificate that signed it: --ca-file, target.ca_file; or set target.verify: false",
        )
    except (ssl.SSLError, OSError) as fault:
        return Finding("mend", "TLS", f"{fault}", "if the port speaks no TLS, write http://")


def _answers(target: TargetConfig) -> Iterator[Finding]:
    try:
        with Interrupts() as interrupts:
            nonce = f"look-{datetime.now(UTC):%Y%m%dT%H%M%S%f}"
            looked = look_at(target, nonce=nonce, heed=interrupts.heed, note=_say)
    except RunError as fault:
        yield Finding("mend", "request", str(fault))
        return
    yield from _abilities(looked)


def _abilities(looked: Looked) -> Iterator[Finding]:
    facts, reply, target = looked.facts, looked.reply, looked.tried.target
    about = f"{facts.dialect or 'unknown kind'}{f' {facts.version}' if facts.version else ''}"
    yield Finding("ok", "server", f"{about}, model {target.model}")
    if reply.error is not None:
        yield Finding("mend", "request", f"a prompt sent twice was refused: {reply.error}")
        return
    context = facts.context_tokens
    yield _either(
        context is not None,
        "context",
        f"{context or 0:,} tokens",
        "not told",
        "keep workload.high_watermark below the model's length yourself",
    )
    yield _either(
        reply.streams is not False,
        "streaming",
        "yes",
        "replies come in one piece",
        "without a stream there is no TTFT: let the server, and proxies before it, stream",
    )
    yield _either(
        reply.usage,
        "usage",
        "yes",
        "no prompt tokens are told",
        "lengths are then as planned, 4 bytes a token; let stream_options reach the server",
    )
    yield _either(
        reply.cached_usage,
        "cached tokens",
        "told with each reply",
        "not told",
        "hit rates then come from counters alone; vLLM tells by --enable-prompt-tokens-details, SGLang by "
        "--enable-cache-report",
    )
    yield _either(
        reply.exact_output,
        "ignore_eos",
        "replies are as long as asked for",
        "replies end where the model ends them",
        "set target.exact_output: false, and read TPOT with care",
    )
    yield _either(
        facts.has_metrics,
        "counters",
        "at /metrics",
        "none at /metrics",
        "name them in target.metrics_urls; without them hits cannot be checked against the server's own",
    )


def _either(is_so: bool | None, what: str, yes: str, no: str, remedy: str) -> Finding:
    return Finding("ok", what, yes) if is_so else Finding("note", what, no, remedy)


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
