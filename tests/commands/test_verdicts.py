"""Each row of the table of verdicts in docs/trust.md, provoked by a command."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from html import escape
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from full_disk import SmallDisk, small_disk
from processes import ProcessLauncher
from scripted_server import reply, scripted
from whole import Ended, command, lived, without_ray, written

from swarm.records.batch import Batch
from swarm.records.journal import read_journal
from swarm.report.live.simulation import Watching

ROOT = Path(__file__).resolve().parents[2]
TABLE = (ROOT / "docs" / "trust.md").read_text(encoding="utf-8")
TABLE = TABLE.partition("| finding | verdict | bound |\n| --- | --- | --- |\n")[2].partition("\n\n")[0]
VERDICTS = {row.split("|")[1].strip(): row.split("|")[2].strip() for row in TABLE.splitlines()}

COST = {
    "kind": "simple",
    "prefill_tokens_per_s": 1e6,
    "decode_base_s": 0.002,
    "kv_capacity_tokens": 10_000_000,
}
FLEET: dict[str, Any] = {"cost": COST}
PROMPTS: dict[str, Any] = {
    "kind": "prompt_set",
    "prompts": 1000,
    "prompt_tokens": 2000,
    "output_tokens": 8,
    "turns": 100_000,
    "think_s": {"median": 0.1, "sigma": 0.3},
}
GROWING: dict[str, Any] = {
    "kind": "synthetic",
    "tool_tokens": 300,
    "system_tokens": 100,
    "first_context": {"median": 200, "sigma": 0.3},
    "turns": {"median": 400, "sigma": 0.1},
    "tool_think_s": {"median": 0.3, "sigma": 0.4},
    "human_wait": {"body": {"median": 0.4, "sigma": 0.3}, "tail_share": 0.0},
    "output": {"median": 20, "sigma": 0.4, "least": 4, "most": 60},
    "high_watermark": 4000,
}
LOAD: dict[str, Any] = {"agents": 8, "ramp_s": 0, "duration_s": 30, "drain_s": 5}
LAX = {
    "send_lag_p99_s": 60,
    "loop_lag_p99_s": 60,
    "event_lateness_p99_s": 60,
    "cpu_share": 9,
    "cpu_wait_share": 1,
    "clock_offset_s": 60,
}
"""Bounds that a busy machine keeps."""
FALLING = {**LAX, "delivered_share": 1e-6}
STRICT = dict.fromkeys(LAX, 1e-9)
SLO = [{"metric": "effective_ttft_s", "quantile": 0.9, "at_most": 5.0}]
MISSED = [{"metric": "effective_ttft_s", "quantile": 0.9, "at_most": 1e-6}]
WAIT_S_MAX = 150.0


def experiment(folder: Path, **parts: Any) -> Path:
    return written(folder, **{"workload": PROMPTS, "load": LOAD, "fleet": FLEET, **parts})


def simulated(folder: Path, **parts: Any) -> Ended:
    return command(folder, "simulate", experiment(folder, **parts), "--out", folder)


def started(folder: Path, **parts: Any) -> subprocess.Popen[str]:
    """Start a live run, with a Ray of its own."""
    program = [sys.executable, "-c", "from swarm.cli import main; main()"]
    return subprocess.Popen(
        [*program, "run", str(experiment(folder, **parts)), "--out", str(folder)],
        env={**os.environ, "PYTHONPATH": str(ROOT), "RAY_USAGE_STATS_ENABLED": "0"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )


def ended(run: subprocess.Popen[str], folder: Path) -> Ended:
    try:
        _, said = run.communicate(timeout=WAIT_S_MAX)
    finally:
        if run.poll() is None:
            run.kill()
    return Ended(run.returncode, said, folder)


# --- The runs. Several findings share one, as a live run takes its time to start.


def strict(folder: Path) -> Ended:
    """Bounds that nobody keeps."""
    load = {**LOAD, "duration_s": 3, "drain_s": 1}
    return lived(folder, experiment(folder, load=load, audit=STRICT, hosts={"count": 1}))


class Sinner(BaseHTTPRequestHandler):
    """Of ten requests one is refused, one cut, one counted wrongly; all else is hit, and ends early.

    Its process is a younger one at every look.
    """

    protocol_version = "HTTP/1.0"
    count = 0
    looks = 0

    def do_GET(self) -> None:
        if self.path != "/metrics":
            self.send_error(404)
            return
        type(self).looks += 1
        self.send_response(200)
        self.end_headers()
        self.wfile.write(
            b"vllm:prefix_cache_hits_total 0\nvllm:prefix_cache_queries_total 0\n"
            b"process_start_time_seconds %d\n" % (1_700_000_000 + 60 * self.looks)
        )

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        type(self).count += 1
        place = type(self).count % 10
        if place == 3:
            self.send_error(400)
            return
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.end_headers()
        for _ in range(4):
            self._chunk([{"index": 0, "delta": {"content": " one"}, "finish_reason": None}])
        if place == 6:
            return
        prompt = sum(len(message["content"]) for message in body["messages"]) // 4
        usage = {"prompt_tokens": prompt, "completion_tokens": 4, "total_tokens": prompt + 4}
        self._chunk([{"index": 0, "delta": {}, "finish_reason": "stop"}])
        cached = prompt + 1 if place == 8 else prompt
        self._chunk([], usage={**usage, "prompt_tokens_details": {"cached_tokens": cached}})
        self.wfile.write(b"data: [DONE]\n\n")

    def _chunk(self, choices: list[Any], **more: Any) -> None:
        chunk = {"id": "c", "object": "chat.completion.chunk", "model": "m", "choices": choices, **more}
        self.wfile.write(b"data: " + json.dumps(chunk).encode() + b"\n\n")

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


def sinning(folder: Path) -> Ended:
    """A server that does nothing right, under two names of which one session uses one; it is given up."""
    server = ThreadingHTTPServer(("0.0.0.0", 0), Sinner)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    port = server.server_address[1]
    target = {
        "urls": [f"http://127.0.0.1:{port}", f"http://127.0.0.2:{port}"],
        "model": "m",
        "bytes_per_token": 4,
        "overhead_tokens": 0,
    }
    workload = {**PROMPTS, "think_s": {"median": 0.02, "sigma": 0.3}}
    load = {**LOAD, "agents": 1, "duration_s": 120, "drain_s": 1}
    abort = {"failed_share": 0.1, "requests_min": 60}
    parts = {"workload": workload, "load": load, "target": target, "abort": abort}
    try:
        return lived(folder, experiment(folder, **parts, hosts={"count": 1}, audit=LAX))
    finally:
        server.shutdown()
        server.server_close()


def barred(folder: Path) -> Ended:
    """A server that takes no request."""
    with scripted(lambda asked: reply("400 Bad Request", b"no such model")) as url:
        return lived(folder, experiment(folder, target={"urls": [url], "model": "m"}))


def hosts_of(run: subprocess.Popen[str]) -> list[int]:
    """Return the processes of a run's hosts."""
    parents: dict[int, int] = {}
    names: dict[int, str] = {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            parents[int(entry.name)] = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            names[int(entry.name)] = (entry / "cmdline").read_bytes().decode(errors="replace")
        except (OSError, ValueError, IndexError):
            continue

    def is_below(pid: int) -> bool:
        while pid in parents and pid != run.pid:
            pid = parents[pid]
        return pid == run.pid

    return sorted(pid for pid, name in names.items() if "ray::RemoteHost" in name and is_below(pid))


def struck(folder: Path) -> Ended:
    """One of two hosts stands still for a while, the other is killed as often as it comes back."""
    load = {"agents": 8, "ramp_s": 4, "duration_s": 75, "drain_s": 2}
    hosts = {"count": 2, "report_every_s": 0.5}
    audit = {**LAX, "unaccounted_share": 0.0}
    run = started(folder, workload=GROWING, load=load, hosts=hosts, audit=audit)

    def wait_until(holds: Callable[[], bool]) -> bool:
        until_s = time.monotonic() + WAIT_S_MAX
        while time.monotonic() < until_s and run.poll() is None:
            if holds():
                return True
            time.sleep(0.05)
        return run.poll() is None

    def batches(host: int, epoch: int) -> int:
        path = folder / "journal" / f"host-{host:05d}-{epoch}.journal"
        return sum(1 for _ in read_journal(path)) if path.exists() else 0

    try:
        wait_until(lambda: batches(0, 0) >= 1 and batches(1, 0) >= 1)
        first = hosts_of(run)
        os.kill(first[0], signal.SIGSTOP)
        stopped = 0 if batches(1, 0) >= batches(0, 0) else 1
        seen = batches(0, 0), batches(1, 0)
        wait_until(lambda: max(batches(0, 0) - seen[0], batches(1, 0) - seen[1]) >= 16)
        stopped = 0 if batches(0, 0) - seen[0] < batches(1, 0) - seen[1] else 1
        os.kill(first[0], signal.SIGCONT)
        killed = 1 - stopped
        for epoch in range(7):
            if not wait_until(lambda epoch=epoch: batches(killed, epoch) >= 3):
                break
            for pid in hosts_of(run):
                if pid != first[0]:
                    os.kill(pid, signal.SIGKILL)
            if epoch == 5:
                break
    finally:
        found = ended(run, folder)
    return found


def spent(folder: Path) -> Ended:
    """Sessions without end, far more than one machine can play, of which the budget lets a few begin."""
    load: dict[str, Any] = {"agents": 10_000, "ramp_s": 10_000, "duration_s": 120, "drain_s": 1}
    load["budget"] = {"tokens_max": 40_000}
    return lived(folder, experiment(folder, load=load, hosts={"count": 1}, audit=FALLING))


def refused(folder: Path) -> Ended:
    """A disk that is full for a while."""
    return on_a_small_disk(folder, lambda disk, batch: disk.clear() if batch.is_last else None)


def made_room(folder: Path) -> Ended:
    """A disk that is full until the run has ended, which is gone on with."""
    return on_a_small_disk(folder, lambda disk, batch: None, is_resumed=True)


def on_a_small_disk(
    folder: Path, then: Callable[[SmallDisk, Batch], None], *, is_resumed: bool = False
) -> Ended:
    with small_disk(folder.with_name(f"{folder.name}-disk"), "size=16m") as disk:

        def fill(launcher: ProcessLauncher, batch: Batch) -> None:
            if batch.sequence == 1:
                disk.fill()
            then(disk, batch)

        load = {"agents": 2, "ramp_s": 0, "duration_s": 3, "drain_s": 1}
        hosts = {"count": 1, "report_every_s": 0.5}
        out = disk.path / "run"
        run = lived(out, experiment(out, load=load, hosts=hosts, audit=FALLING), fill)
        if is_resumed:
            disk.clear()
            with without_ray():
                run = command(out, "run", "--resume", out)
        shutil.copytree(out, folder)
    return replace(run, folder=folder)


def signalled(folder: Path) -> Ended:
    """A simulation that a signal ends."""
    goes_on = Watching.goes_on

    def interrupted(self: Watching, now_s: float, ended_count: int, open_count: int) -> bool:
        signal.raise_signal(signal.SIGTERM)
        return goes_on(self, now_s, ended_count, open_count)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Watching, "goes_on", interrupted)
        return simulated(folder, load={**LOAD, "duration_s": 1e6})


def skipping(folder: Path) -> Ended:
    traces = folder.with_name("traces")
    traces.mkdir()
    (traces / "broken.json").write_text("{ not")
    requests = [{"type": "s", "t": t, "in": 192, "out": 5, "hash_ids": [1, 2, 3]} for t in (0, 1)]
    (traces / "a.json").write_text(json.dumps({"id": "a", "block_size": 64, "requests": requests}))
    return simulated(folder, workload={"kind": "replay", "path": str(traces), "on_broken": "skip"})


def breaking(folder: Path) -> Ended:
    """A program that divides by zero in its second session."""
    (folder.parent / "program_of_verdicts.py").write_text(
        "def main(agent):\n"
        "    agent.append(100)\n"
        "    yield agent.infer(5)\n"
        "    yield agent.infer(1 // (agent.path != 's000001'))\n"
    )
    program = {"kind": "program", "program": "program_of_verdicts:main", "path": str(folder.parent)}
    return simulated(folder, workload=program)


SLOW_TIERS = {"cost": {**COST, "kv_capacity_tokens": 30_000}, "tiers": [
    {"name": "hbm"}, {"name": "dram", "write_gib_per_s": 1e-3, "write_queue_gib": 1e-3},
]}  # fmt: skip
SEARCH = {"ramp_s": 0, "search": {"agents_max": 2, "hold_min_s": 20, "hold_max_s": 20, "requests_min": 10}}
RUNS: dict[str, Callable[[Path], Ended]] = {
    "strict": strict,
    "sinning": sinning,
    "barred": barred,
    "struck": struck,
    "spent": spent,
    "refused": refused,
    "made room": made_room,
    "signalled": signalled,
    "skipping": skipping,
    "breaking": breaking,
    "steady": lambda folder: simulated(folder, slo=SLO),
    "other seed": lambda folder: simulated(folder, slo=SLO, seed=2),
    "slower": lambda folder: simulated(folder, slo=SLO, fleet={"cost": {**COST, "decode_base_s": 0.01}}),
    "missed": lambda folder: simulated(folder, slo=MISSED),
    "found none": lambda folder: simulated(folder, load=SEARCH, slo=MISSED),
    "found some": lambda folder: simulated(folder, load=SEARCH, slo=SLO),
    "refused all": lambda folder: simulated(folder, fleet={**FLEET, "max_model_len": 1}),
    "refused some": lambda folder: simulated(
        folder, workload=GROWING, fleet={**FLEET, "max_model_len": 3000}
    ),
    "ran out": lambda folder: simulated(
        folder, load={**LOAD, "replace": False}, workload={**PROMPTS, "turns": 9}
    ),
    "falling": lambda folder: simulated(
        folder,
        load={**LOAD, "replace": False, "ramp_s": 40},
        workload={**PROMPTS, "turns": 200},
    ),
    "gated": lambda folder: simulated(
        folder,
        load={**LOAD, "admission": {"max_in_flight": 1}},
        slo=[{"metric": "session_s", "quantile": 0.5, "at_most": 20}],
        fleet={"cost": {**COST, "prefill_tokens_per_s": 400, "kv_capacity_tokens": 10_000}},
    ),
    "silent": lambda folder: simulated(
        folder,
        workload={**PROMPTS, "turns": 99_991},
        load={**LOAD, "duration_s": 12, "drain_s": 1},
        fleet={
            "cost": {**COST, "prefill_tokens_per_s": 400},
            "replicas": [{"max_sequences": 1}],
        },
    ),
    "herd": lambda folder: simulated(folder, load={**LOAD, "warmup_s": 0.001}),
    "tiers": lambda folder: simulated(folder, fleet=SLOW_TIERS, load={**LOAD, "duration_s": 60}),
    "unmeasured": lambda folder: simulated(
        folder,
        fleet={"cost": {"kind": "roofline"}, "replicas": [{"gpu": "H200", "parallelism": {"tp": 2}}]},
    ),
    "modelled": lambda folder: simulated(folder, cache_model={}),
    "one": lambda folder: simulated(
        folder, load={"agents": 1, "replace": False, "duration_s": None}, workload={**PROMPTS, "turns": 1}
    ),
}


@pytest.fixture(scope="module")
def run_of(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Ended]]:
    """Carry out runs by name, each once."""
    root = tmp_path_factory.mktemp("verdicts")
    done: dict[str, Ended] = {}

    def carry_out(name: str) -> Ended:
        if name not in done:
            done[name] = RUNS[name](root / name.replace(" ", "-"))
        return done[name]

    yield carry_out


SLOW = pytest.mark.slow
ASKED: dict[str, tuple[str, int, str]] = {
    "late sends": ("strict", 1, "p99 send lag"),
    "late wake-ups": ("strict", 1, "p99 event-loop lag"),
    "late events": ("strict", 1, "emulator's moments of sending"),
    "busy host": ("strict", 1, "of a core, more than"),
    "starved host": ("strict", 1, "of the time for a core"),
    "wrong clock": ("strict", 1, "ms from the driver's"),
    "failed requests": ("sinning", 1, "of the requests failed"),
    "target refused": ("barred", 1, "the target refuses what this run would send"),
    "nothing finished": ("refused all", 1, "no request of the measured phase finished"),
    "cut streams": ("sinning", 1, "of the streams ended without a finish"),
    "other output lengths": ("sinning", 1, "of the outputs are not as long as asked"),
    "idle endpoint": ("sinning", 1, "took no part"),
    "hits above the ideal": (
        "sinning",
        1,
        "of the prompt tokens as cached where this run's own requests explain",
    ),
    "load not delivered": ("struck", 1, "of the load was delivered"),
    "hosts away": ("struck", 1, "of the sessions' time"),
    "unaccounted requests": ("struck", 1, "requests are unaccounted for"),
    "host given up": ("struck", 1, "was lost again and again"),
    "disk refused": ("refused", 1, "reports could not be stored"),
    "disk made room": ("made room", 0, "all that it sent is known"),
    "load stopped": ("sinning", 1, "more than abort.failed_share: 0.1: the load was stopped"),
    "budget spent": ("spent", 0, "load.budget was spent at"),
    "server began anew": ("sinning", 1, "the server began anew"),
    "small node": ("spent", 0, "are expected to need"),
    "own program failed": ("breaking", 1, "it raised ZeroDivisionError"),
    "objective missed": ("missed", 99, ""),
    "no level passed": ("found none", 99, ""),
    "host lost": ("struck", 1, "was lost: it was last heard at"),
    "host stood still": ("struck", 1, "stood still from"),
    "turns never sent": ("gated", 99, "7 turns still waited for admission when the load ended"),
    "late at the end": ("silent", 0, "had no token yet when the run ended, after up to 13.0 s"),
    "sessions never ended": ("gated", 99, "8 sessions had taken longer than 20 s"),
    "load ran out": ("ran out", 0, "the load ran out: the last session ended at"),
    "falling load": ("falling", 0, "sessions ended and none took their place"),
    "start measured": ("herd", 0, "8 of the 8 sessions that start together had no token yet"),
    "stopped": ("signalled", 143, "stopped by SIGTERM at"),
    "parts left out": ("skipping", 0, "left out 1 broken part of workload.path: broken.json"),
    "failures by class": ("sinning", 1, "http_4xx"),
    "unknown counts": ("sinning", 1, "cached tokens exceeded its prompt; treated as unknown"),
    "refused requests": ("refused some", 1, "refused "),
    "slow tier": ("tiers", 0, "writes to dram were too slow"),
    "unvalidated model": ("unmeasured", 0, "unvalidated: no measurement"),
    "unused setting": ("modelled", 0, "cache_model is not used"),
    "few observations": ("one", 0, "too few"),
}
"""By finding: the run, its exit code, and words of what it says."""
COMPARED: dict[str, tuple[tuple[str, ...], int, str]] = {
    "unlike runs": (("steady", "slower"), 0, "different things: fleet.cost.decode_base_s (0.002, 0.01)"),
    "few requests compared": (("one", "steady"), 0, "too few"),
    "regression": (("steady", "slower", "--fail-on-regression"), 99, "worse"),
    "invalid run compared": (("refused some", "steady", "--fail-on-regression"), 1, "no verdict"),
    "modes compared": (("steady", "sinning", "--fail-on-regression"), 2, "is measured, one emulated"),
}
LIVE_AND_LONG = ("struck",)


def test_the_table_and_these_tests_have_the_same_rows() -> None:
    assert sorted([*ASKED, *COMPARED]) == sorted(VERDICTS)


@pytest.mark.timeout(400)
@pytest.mark.parametrize(
    "finding", [pytest.param(name, marks=[SLOW] if ASKED[name][0] in LIVE_AND_LONG else []) for name in ASKED]
)
def test_a_command_tells_the_finding(finding: str, run_of: Callable[[str], Ended]) -> None:
    name, code, words = ASKED[finding]
    run = run_of(name)
    assert run.code == code, run.said
    page = (run.folder / "report.html").read_text(encoding="utf-8")
    reasons, notes = run.summary["invalid_reasons"], run.summary["notes"]
    match VERDICTS[finding]:
        case "invalid":
            (told,) = [reason for reason in reasons if words in reason][:1]
            mark = "swarm: " if finding == "target refused" else "INVALID: do not use these numbers: "
            assert f"{mark}{told}" in run.said
        case "noted":
            told = next(note for note in notes if words in note)
            assert f"note: {told}" in run.said
        case "missed":
            assert run.summary["valid"] and run.summary["slo"]["met"] is False
            return
        case _:
            assert words in run.said and words in page
            return
    assert escape(told) in page


@pytest.mark.timeout(400)
@pytest.mark.parametrize("finding", COMPARED)
def test_a_comparison_tells_the_finding(finding: str, run_of: Callable[[str], Ended], tmp_path: Path) -> None:
    words, code, told = COMPARED[finding]
    folders = [run_of(word).folder if word in RUNS else word for word in words]
    found = command(tmp_path, "report", *folders, "--out", tmp_path / "page")
    assert found.code == code, found.said
    assert told in found.said


@pytest.mark.parametrize(
    ("name", "code"), [("steady", 0), ("found some", 0), ("found none", 99), ("refused all", 1)]
)
def test_exit_codes_of_runs_and_searches(name: str, code: int, run_of: Callable[[str], Ended]) -> None:
    run = run_of(name)
    assert run.code == code
    assert run.summary["valid"] is (code != 1)


def test_another_seed_is_no_regression(run_of: Callable[[str], Ended], tmp_path: Path) -> None:
    folders = [run_of(name).folder for name in ("steady", "other seed")]
    found = command(tmp_path, "report", *folders, "--out", tmp_path / "page", "--fail-on-regression")
    assert found.code == 0, found.said
    assert "not alike" not in found.said
