"""The door for Python: the commands as functions, and what a run left as tables.

Wherever an experiment is asked for, it is an `Experiment`, the path of its YAML file, or a mapping of what
such a file holds. `changes` are those of `--set`: texts such as `load.agents=20`.
"""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import orjson
import pandas as pd

from swarm.commands.analyze import CAPACITIES, TTLS_S, Question, analyzed
from swarm.commands.places import default_folder
from swarm.commands.simulate import simulate_into
from swarm.config import read
from swarm.config.experiment import Experiment
from swarm.config.fleet import FleetConfig
from swarm.config.prices import PricesConfig
from swarm.errors import RunError, UsageError
from swarm.records.origin import commit, versions
from swarm.records.run_folder import RunFolder, simulated_run_id, unused
from swarm.report.run.agents import agents
from swarm.urls import fetched, is_url
from swarm.workload.formats import open_format

AnExperiment = Experiment | Mapping[str, Any] | str | Path
AFleet = FleetConfig | Experiment | Mapping[str, Any] | str | Path
SERVING_S_MAX = 30.0
"""A provider that does not listen by then has failed."""


class Run:
    """What a run left in its folder: a summary and three tables, each read when it is first asked for.

    Times are seconds on the run's clock, which starts at 0; tokens are the server's counts where it counts
    them; unknown is missing, never 0.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        """The run folder."""
        self._folder = RunFolder.open(path)

    def __repr__(self) -> str:
        return f"Run({str(self.path)!r})"

    @cached_property
    def experiment(self) -> Experiment:
        """The experiment in full, as `run.yaml` has it."""
        return read.validate(Experiment, self._folder.run()["experiment"], f"{self.path}: experiment")

    @cached_property
    def summary(self) -> dict[str, Any]:
        """The run in one page of numbers: `summary.json` (docs/run-folder.md)."""
        return self._folder.summary()

    @cached_property
    def requests(self) -> pd.DataFrame:
        """One row for each request, with the columns of `requests.parquet`.

        `agent` and `turn` name it; `ttft_s` and `effective_ttft_s` are added: from the final attempt's
        sending, and from the time at which the turn was due, to the first token.
        """
        frame: pd.DataFrame = self._folder.requests().to_pandas()
        frame["ttft_s"] = frame["first_token_s"] - frame["sent_s"]
        frame["effective_ttft_s"] = frame["first_token_s"] - frame["intended_s"]
        return frame

    @cached_property
    def windows(self) -> pd.DataFrame:
        """The time series: one row for each window [start_s, end_s), with the columns of `windows.parquet`.

        Rows of one host or endpoint, where there are several, have `host` or `endpoint` set.
        """
        frame: pd.DataFrame = self._folder.windows().to_pandas()
        return frame

    @cached_property
    def agents(self) -> pd.DataFrame:
        """One row for each agent that sent a request, by path: who it is, when it was at work, what it sent.

        `start_s` is when its first request was due and `end_s` when its last one ended; `turns` counts its
        requests, `finished`, `failed` and `interrupted` how they ended; tokens are sums over them.
        """
        return agents(self.requests)


def read_experiment(
    experiment: AnExperiment, changes: Sequence[str] = (), *, seed: int | None = None
) -> Experiment:
    """Return the checked experiment.

    Raises:
        ConfigError: Keys or values that cannot be used, each named with what is allowed.
    """
    if isinstance(experiment, Experiment):
        if not changes and seed is None:
            return experiment
        return read.experiment_of(experiment.model_dump(mode="json"), changes, seed=seed)
    if isinstance(experiment, Mapping):
        return read.experiment_of(experiment, changes, seed=seed)
    return read.read_experiment(Path(experiment), list(changes), seed=seed)


def simulate(
    experiment: AnExperiment,
    out: str | Path | None = None,
    *,
    changes: Sequence[str] = (),
    seed: int | None = None,
) -> Run:
    """Run the experiment against the emulated fleet in virtual time; return what it left in `out`.

    `out` is a folder, absent or empty (default: a new one under `results/`). The same experiment and seed
    give the same tables to the byte. No report is drawn: `swarm report FOLDER` does that.

    Raises:
        ConfigError, UsageError: The experiment or `out` cannot be used.
    """
    config = _one_run(read_experiment(experiment, changes, seed=seed))
    folder = RunFolder.create(unused(default_folder(simulated_run_id(config))) if out is None else Path(out))
    try:
        simulate_into(config, folder, {"command": None, "commit": commit(), "versions": versions()})
    finally:
        folder.discard_unbegun()
    return Run(folder.path)


def run(
    experiment: AnExperiment,
    out: str | Path | None = None,
    *,
    target: str | None = None,
    changes: Sequence[str] = (),
    seed: int | None = None,
) -> Run:
    """Run the experiment from Ray actors against `target`, a base URL; return what it left in `out`.

    Without a target, here or in the experiment, an emulated provider is started. `out` is a folder, absent
    or empty (default: a new one under `results/`). To be called from the main thread: signals end a run.
    Progress goes to standard error, and the summary to standard output. A run that missed its SLO or is not
    valid returns as well: `summary["slo"]`, `summary["valid"]`.

    Raises:
        ConfigError, UsageError: The experiment or `out` cannot be used.
        RunError: It could not be carried out.
    """
    from swarm.commands.run import run_live  # brings Ray

    aimed = [*changes, f"target.urls=['{target}']"] if target is not None else changes
    config = _one_run(read_experiment(experiment, aimed, seed=seed))
    if out is not None and is_url(out):
        raise UsageError(f"out={str(out)!r}: a folder is expected; `swarm run --out URL` copies one to a URL")
    name = f"{config.name}-{datetime.now(UTC):%Y%m%dT%H%M%S}"
    folder = unused(default_folder(name)) if out is None else Path(out)
    run_live(config, str(folder))
    return Run(folder)


@contextmanager
def serve(
    fleet: AFleet,
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    key: str | None = None,
    journal: str | Path | None = None,
) -> Iterator[str]:
    """Serve the emulated fleet, from a thread, while the block runs; its value is the base URL.

    `fleet` is a `FleetConfig`, an experiment's or a file's, or a mapping. Port 0 is any free one. With a
    `key`, requests must bear it.

        with swarm.serve("experiments/fleets/laptop.yaml") as url:
            run = swarm.run("experiments/quickstart.yaml", target=url)

    Raises:
        RunError: It cannot listen there.
    """
    from swarm.provider import Provider

    config = _fleet_of(fleet)
    told: queue.Queue[tuple[int, asyncio.AbstractEventLoop, asyncio.Event] | Exception] = queue.Queue()

    async def serving() -> None:
        provider = Provider(
            config, host=host, port=port, key=key, journal=None if journal is None else Path(journal)
        )
        try:
            await provider.start()
        except (OSError, RunError) as fault:
            told.put(fault)
            return
        over = asyncio.Event()
        told.put((provider.port, asyncio.get_running_loop(), over))
        await over.wait()
        await provider.close()

    thread = threading.Thread(target=lambda: asyncio.run(serving()), name="swarm-serve", daemon=True)
    thread.start()
    found = told.get(timeout=SERVING_S_MAX)
    if isinstance(found, Exception):
        thread.join()
        raise RunError(f"serve: cannot listen on {host}:{port}: {found}") from found
    at, loop, over = found
    try:
        yield f"http://[{host}]:{at}" if ":" in host else f"http://{host}:{at}"
    finally:
        loop.call_soon_threadsafe(over.set)
        thread.join()


def analyze(
    paths: str | Path | Sequence[str | Path],
    *,
    ttls: Sequence[float | None] = TTLS_S,
    capacities: Sequence[float | None] = CAPACITIES,
    format: str = "auto",
    on_broken: str = "auto",
) -> dict[str, Any]:
    """Return what caches would make of recorded sessions: the value that `swarm analyze --json` writes.

    `paths` are files, or folders of them. `ttls` are lifetimes in seconds and `capacities` sizes in tokens;
    None or infinity is no limit. A broken part is an error in a trace; in agents'
    own logs it is left out and named on standard error: `on_broken="fail"` or `"skip"` says it for both.

    Raises:
        UsageError, TraceError: No sessions there, or broken ones.
    """
    places = [paths] if isinstance(paths, str | Path) else list(paths)
    question = Question(
        ttls_s=tuple(_limit("ttls", ttl) for ttl in ttls),
        capacities=tuple(
            None if size is None else int(size) for size in (_limit("capacities", c) for c in capacities)
        ),
        targets=(),
        kv_bytes_per_token=None,
        prices=PricesConfig(),
    )
    _, analysis, _ = analyzed(
        open_format(format), [Path(place) for place in places], question=question, on_broken=on_broken
    )
    plain: dict[str, Any] = orjson.loads(orjson.dumps(analysis))
    return plain


def load_run(path_or_url: str | Path) -> Run:
    """Return what a run left in a folder, or at a URL that fsspec knows (s3, gs, http, file), copied here.

    Raises:
        UsageError: No run folder is there.
    """
    return Run(fetched(Path(path_or_url)))


def _one_run(experiment: Experiment) -> Experiment:
    if experiment.sweep is not None:
        raise UsageError(
            f"{experiment.name}: a sweep; `swarm simulate` runs its points, changes=['sweep=null'] its base"
        )
    return experiment


def _fleet_of(fleet: AFleet) -> FleetConfig:
    if isinstance(fleet, FleetConfig):
        return fleet
    if isinstance(fleet, Experiment):
        return fleet.fleet
    if isinstance(fleet, Mapping):
        return read.validate(FleetConfig, dict(fleet), "the fleet")
    return read.read_fleet(Path(fleet), [])


def _limit(what: str, value: float | None) -> float | None:
    if value is None or value == float("inf"):
        return None
    if not value >= 0:
        raise UsageError(f"{what}: {value} must be a number from 0 on, or None")
    return float(value)
