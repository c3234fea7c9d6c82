"""What is lost of a run when a part of it is lost: kinds of faults x phases, against a counting server.

    python benchmarks/faults.py [--kinds host,disk] [--phases start,drain] [--at-once 4] [--json FILE]

The server is a process of its own that knows nothing of Swarm. It numbers the requests that it gets, writes
each number down before it answers, and puts the number into the reply's usage: so each reply is to be found
in the run's rows, once. Every run is `swarm run` on a Ray cluster on this machine, of three nodes where one
is to be lost; a run that a fault has ended is gone on with by `--resume`. One line for each run, and a table
of all; the exit code is 1 where a request was lost, counted twice, or missing in silence. Disks need the
right to mount (root).
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fault_ground import WAIT_S_MAX, Disk, Nodes, OwnRay, Target, kill, until

ROOT = Path(__file__).resolve().parents[1]
DURATION_S, WARMUP_S = 10.0, 3.0
PHASES = ("start", "warm-up", "measuring", "drain", "results")
KINDS = ("host", "node", "coordinator", "driver", "target", "provider", "disk", "inodes")
OF_RAY = ("gcs", "raylet", "read-only", "second-writer")
"""Each on a Ray of the run's own, which the loss of its head ends."""
PAIRS = ("host+coordinator", "driver+target", "node+provider", "driver+disk")
TRIALS_MAX = 3
"""Most requests that a run which never begins may have sent."""
SAID_MAX = 4000
"""Characters of a run's words that are kept."""
EXPERIMENT: dict[str, Any] = {
    "name": "faults",
    "workload": {
        "kind": "synthetic",
        "tool_tokens": 300,
        "system_tokens": 100,
        "first_context": {"median": 200, "sigma": 0.3},
        "turns": {"median": 400, "sigma": 0.1},
        "tool_think_s": {"median": 0.15, "sigma": 0.4},
        "human_wait": {"body": {"median": 0.2, "sigma": 0.3}, "tail_share": 0.0},
        "tool_result": {"median": 40, "sigma": 0.4},
        "output": {"median": 8, "sigma": 0.4, "least": 4, "most": 16},
        "high_watermark": 4000,
    },
    "load": {"agents": 12, "ramp_s": 0.5, "warmup_s": WARMUP_S, "duration_s": DURATION_S, "drain_s": 2},
    "hosts": {"count": 2, "report_every_s": 0.5, "silent_max_s": 20},
    "target": {
        "model": "counted",
        "bytes_per_token": 4.0,
        "overhead_tokens": 0,
        "exact_output": False,
        "retry": {"attempts_max": 3, "wait_first_s": 0.2},
    },
    # The machine is shared: lags are not what this is about.
    "audit": {
        "loop_lag_p99_s": 60,
        "event_lateness_p99_s": 60,
        "send_lag_p99_s": 60,
        "cpu_wait_share": 1,
        "delivered_share": 0,
        "unaccounted_share": 1,
        "failed_share": 1,
        "truncated_share": 1,
    },
}


@dataclass
class Found:
    """What one run came to."""

    kind: str
    phase: str
    tried: int = 0
    """Requests that tried the target before the run, as its notes say; all, where the run never began."""
    served: int = 0
    """Requests that the server got, but for those."""
    sent: int = 0
    """Requests that the run says it sent."""
    finished: int = 0
    """Replies that rows tell of as finished."""
    missing: int = 0
    """Requests that the server got, and that no row tells of."""
    unaccounted: int = 0
    """Requests that the run says it knows nothing of."""
    doubled: int = 0
    wall_s: float = 0.0
    codes: list[int] = field(default_factory=list)
    told: list[str] = field(default_factory=list)
    said: str = ""
    """The end of what the commands printed."""
    trouble: list[str] = field(default_factory=list)

    @property
    def lost(self) -> int:
        return max(0, self.missing - self.unaccounted)

    def line(self) -> str:
        return (
            f"{self.kind} in {self.phase}: tried {self.tried}, served {self.served}, sent {self.sent}, "
            f"finished {self.finished}; missing {self.missing}, unaccounted {self.unaccounted}, "
            f"lost {self.lost}, "
            f"doubled {self.doubled}; exit codes {self.codes}, {self.wall_s:.0f} s {' '.join(self.trouble)}"
        )


class FaultyRun:
    """One run and what is done to it."""

    def __init__(self, nodes: Nodes | OwnRay, kind: str, phase: str) -> None:
        self.found = Found(kind, phase)
        self._nodes = nodes
        self._text = ""
        self._process: subprocess.Popen[str] | None = None

    def carry_out(self) -> Found:
        """Run, break, go on where that is needed, and compare."""
        began_s = time.monotonic()
        self._folder = Path(tempfile.mkdtemp(prefix="faults-"))
        self._target = Target(self._folder)
        self._disk = Disk(self._folder / "disk")
        self._out = self._disk.path / "run"
        try:
            self._start(str(self._experiment()), "--out", str(self._out))
            self._wait_for_phase()
            for kind in self.found.kind.split("+"):
                self._break(kind)
            self._end()
            self._disk.clear()
            self._go_on()
            self._compare()
        except TimeoutError as fault:
            self.found.trouble.append(f"TIMEOUT: {fault}")
        finally:
            if self._process is not None and self._process.poll() is None:
                self._process.kill()
                self._process.communicate()
            self._target.kill()
            self._disk.close()
            shutil.rmtree(self._folder, ignore_errors=True)
            self._nodes.fill()
            self.found.wall_s = time.monotonic() - began_s
        return self.found

    def _experiment(self) -> Path:
        data = json.loads(json.dumps(EXPERIMENT))
        data["target"]["urls"] = [self._target.url]
        path = self._folder / "experiment.yaml"
        path.write_text(json.dumps(data))
        return path

    def _start(self, *arguments: str) -> None:
        self._process = self._popen(*arguments)

    def _popen(self, *arguments: str) -> subprocess.Popen[str]:
        environment = {**os.environ, "RAY_ADDRESS": self._nodes.address, "PYTHONPATH": str(ROOT)}
        return subprocess.Popen(
            [sys.executable, "-c", "from swarm.cli import main; main()", "run", *arguments],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def _wait_for_phase(self) -> None:
        process = self._process
        assert process is not None
        if self.found.phase == "start":
            until(
                lambda: process.poll() is not None or self._nodes.actors("RemoteHost", process.pid),
                "no host was started",
            )
            return
        # What tries the target comes before the run, and the run's first request half a second after this.
        run = self._out / "run.yaml"
        until(lambda: process.poll() is not None or run.exists(), "the run does not begin")
        tried = len(self._target.serials("got"))
        until(
            lambda: process.poll() is not None or self._target.begun_s(after=tried) is not None,
            "the server got no request",
        )
        begun_s = self._target.begun_s(after=tried)
        if begun_s is None:
            return
        if self.found.phase == "results":
            until(lambda: time.time() > begun_s + DURATION_S and self._is_quiet(), "the load does not end")
            return
        after_s = {"warm-up": 2.0, "measuring": 6.5, "drain": DURATION_S + 0.05}[self.found.phase]
        time.sleep(max(0.0, begun_s + after_s - time.time()))

    def _is_quiet(self) -> bool:
        answered = self._target.serials("ok") | self._target.serials("bad")
        return self._target.serials("got") <= answered

    def _break(self, kind: str) -> None:
        process = self._process
        assert process is not None
        if kind == "host":
            for pid in self._nodes.actors("RemoteHost", process.pid)[:1]:
                kill(pid)
        elif kind == "node" and isinstance(self._nodes, Nodes):
            self._nodes.kill_one_with_hosts(process.pid)
        elif kind == "coordinator":
            for pid in self._nodes.actors("RemoteCoordinator", process.pid):
                kill(pid)
        elif kind == "driver":
            process.kill()
        elif kind == "target":
            self._target.restart()
        elif kind == "provider":
            self._target.fail()
        elif kind == "disk":
            self._disk.fill()
        elif kind == "inodes":
            self._disk.take_inodes()
        elif kind == "second-writer":
            # It stands still, so that it is no further when a busy machine has started the second one.
            process.send_signal(signal.SIGSTOP)
            self._check_refused(self._popen("--resume", str(self._out)))
            process.kill()
        elif kind == "read-only":
            self._disk.refuse_writes()
        elif kind in ("gcs", "raylet") and isinstance(self._nodes, OwnRay):
            self._nodes.lose(process.pid, "gcs_server" if kind == "gcs" else kind)

    def _check_refused(self, second: subprocess.Popen[str]) -> None:
        """Hold that a second writer ends by itself, in words; while it writes there may be two."""
        text, _ = second.communicate(timeout=WAIT_S_MAX)
        if second.returncode != 2 or "another process writes this run" not in text:
            self.found.trouble.append(f"SECOND WRITER: code {second.returncode}, {text[-600:]}")

    def _end(self) -> None:
        process = self._process
        assert process is not None
        try:
            text, _ = process.communicate(timeout=WAIT_S_MAX)
        except subprocess.TimeoutExpired:
            process.kill()
            text, _ = process.communicate()
            self.found.trouble.append("HUNG")
        self._text += text
        self.found.said = self._text[-SAID_MAX:]
        self.found.codes.append(process.returncode)
        if "Traceback" in text or "*** SIG" in text:
            at = max(text.find("Traceback"), text.find("*** SIG"))
            self.found.trouble.append(f"TRACE: {text[at : at + 3000]}")

    def _go_on(self) -> None:
        """Finish a run that the fault has ended, once its cause is mended."""
        if (self._out / "summary.json").exists() or not (self._out / "run.yaml").exists():
            return
        process = self._process
        assert process is not None
        until(lambda: not self._nodes.actors("RemoteHost", process.pid), "hosts outlive their driver")
        self._start("--resume", str(self._out))
        if "second-writer" in self.found.kind:
            until(self._is_locked, "the run is not gone on with")
            self._check_refused(self._popen("--resume", str(self._out)))
        self._end()

    def _is_locked(self) -> bool:
        """Whether the one that goes on has told its name; the lock's own file stays after its writer."""
        process = self._process
        assert process is not None
        with contextlib.suppress(OSError):
            return f"process {process.pid} " in (self._out / "journal" / ".writer").read_text()
        return process.poll() is not None

    def _compare(self) -> None:
        found, target = self.found, self._target
        got = target.serials("got")
        found.served = len(got)
        if not (self._out / "run.yaml").exists():
            found.tried = len(got)
            found.served = 0
            if found.phase != "start" or found.tried > TRIALS_MAX:
                found.trouble.append(f"NEVER BEGAN: {self._text[-600:]}")
            return
        if not (self._out / "summary.json").exists():
            found.missing = len(got)
            found.trouble.append(f"NO RESULTS: {self._text[-600:]}")
            return
        from pyarrow import parquet

        summary = json.loads((self._out / "summary.json").read_text())
        found.told = [*summary["notes"], *summary["invalid_reasons"]]
        trials = [re.match(r"before the run (\d+) requests?", note) for note in found.told]
        found.tried = sum(int(each[1]) for each in trials if each is not None)
        found.served -= found.tried
        requests = summary["requests"]
        found.sent, found.unaccounted = requests["sent"], requests["unaccounted"]
        with (self._out / "requests.parquet").open("rb") as file:
            rows = parquet.read_table(file).to_pylist()
        finished = [row for row in rows if row["outcome"] == "ok"]
        serials = Counter(row["prompt_tokens"] for row in finished)
        turns = Counter((row["agent"], row["turn"]) for row in rows if row["outcome"] != "interrupted")
        found.finished = len(serials)
        found.doubled = sum(count - 1 for each in (serials, turns) for count in each.values())
        # A request without a finish is known by its row alone: its reply, if it had one, has no number there.
        others = sum(row["attempts"] - (row["error_class"] == "refused") for row in rows) - len(finished)
        found.missing = max(0, len(got - set(serials)) - found.tried - others)
        if strange := set(serials) - target.serials("ok"):
            found.trouble.append(f"NEVER SERVED: {sorted(strange)[:3]}")
        if found.sent != len(rows) + found.unaccounted:
            found.trouble.append("COUNTS DIFFER")
        if found.missing and not found.told:
            found.trouble.append("SILENT")


def table(found: list[Found]) -> str:
    """Return what was found by kind and phase, as Markdown."""
    lines = ["| fault | " + " | ".join(PHASES) + " |", "| --- |" + " --- |" * len(PHASES)]
    for kind in dict.fromkeys(each.kind for each in found):
        cells = []
        for phase in PHASES:
            of = [each for each in found if (each.kind, each.phase) == (kind, phase)]
            sums = [sum(getattr(each, name) for each in of) for name in ("served", "missing", "unaccounted")]
            wrong = sum(each.lost + each.doubled + bool(each.trouble) for each in of)
            shown = f"{sums[0]:,}: {sums[1]} of {sums[2]}" + (f" **{wrong} wrong**" if wrong else "")
            cells.append(shown if of else "")
        lines.append(f"| {kind.replace('+', ' and ')} | " + " | ".join(cells) + " |")
    served, lost, doubled = (sum(getattr(each, n) for each in found) for n in ("served", "lost", "doubled"))
    lines.append("")
    lines.append(
        f"{len(found)} runs, {served:,} requests served: {lost} lost, {doubled} counted twice. In a cell: "
        "requests served: those without a row, of those stated as unaccounted."
    )
    return "\n".join(lines)


def carried_out(runs: list[tuple[str, str]], nodes_count: int, at_once: int) -> Iterator[Found]:
    """Carry out runs on a cluster, some at once; yield each as it ends."""
    if not runs:
        return
    nodes = Nodes(nodes_count) if nodes_count else OwnRay()
    try:
        if at_once == 1:
            # In this thread: Ray starts a node in no other.
            yield from (FaultyRun(nodes, *run).carry_out() for run in runs)
            return
        with ThreadPoolExecutor(at_once) as pool:
            waiting = [pool.submit(FaultyRun(nodes, *run).carry_out) for run in runs]
            for done in as_completed(waiting):
                yield done.result()
    finally:
        nodes.close()


def main() -> int:
    """Carry out the runs; return 1 where one of them lost something."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kinds", default=",".join((*KINDS, *PAIRS)))
    parser.add_argument("--phases", default=",".join(PHASES))
    parser.add_argument("--repeat", type=int, default=1)
    parser.add_argument(
        "--at-once", type=int, default=1, help="Runs at once, but for those that lose a node."
    )
    parser.add_argument("--json", type=Path, help="Write what each run came to here.")
    asked = parser.parse_args()
    kinds = asked.kinds.split(",") * asked.repeat
    runs = [(kind, phase) for kind in kinds for phase in asked.phases.split(",")]
    found: list[Found] = []
    # The loss of a node would be felt by other runs on it.
    alone = [run for run in runs if "node" in run[0]]
    own = [run for run in runs if set(run[0].split("+")) & set(OF_RAY)]
    shared = [run for run in runs if run not in alone and run not in own]
    for these, nodes_count, at_once in ((shared, 1, asked.at_once), (own, 0, 1), (alone, 3, 1)):
        for each in carried_out(these, nodes_count, at_once):
            found.append(each)
            print(each.line(), file=sys.stderr, flush=True)
            if asked.json is not None:
                asked.json.write_text(json.dumps([vars(each) for each in found], indent=1))
    found.sort(key=lambda each: runs.index((each.kind, each.phase)))
    print(table(found))
    return int(any(each.lost or each.doubled or each.trouble for each in found))


if __name__ == "__main__":
    sys.exit(main())
