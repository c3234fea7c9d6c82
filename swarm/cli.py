"""The command `swarm`: arguments in, an exit code out; what a command does is in its own room.

Rooms are imported inside the commands, so that `swarm --help` and `swarm validate` start quickly.
"""

from __future__ import annotations

import difflib
import errno
import gc
import io
import os
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from swarm.commands.places import local_path, out_path, out_path_or_url
from swarm.errors import ConfigError, Interrupted, SwarmError, UsageError
from swarm.interrupts import end_on_signals, ignore_signals

APIS = "chat, completions, token_ids, messages or responses"

WRONG_PATHS = (FileExistsError, FileNotFoundError, IsADirectoryError, NotADirectoryError, PermissionError)
WRONG_NAMES = (errno.ENAMETOOLONG, errno.ELOOP, errno.EROFS)
"""What else can be wrong with a path, of which Python makes no class of its own."""
FULL_DISKS = (errno.ENOSPC, errno.EDQUOT, errno.EIO)
"""A disk that cannot store, whatever is written."""


class Commands(TyperGroup):
    """The commands, which say what may be meant by a name that is none of them."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Return the command; one that is not known ends with those that are near."""
        if args and self.get_command(ctx, args[0]) is None and not args[0].startswith("-"):
            known = self.list_commands(ctx)
            close = difflib.get_close_matches(args[0], known, n=1)
            meant = f"did you mean 'swarm {close[0]}'?" if close else f"there are {', '.join(known)}"
            raise UsageError(f"there is no command {args[0]!r}; {meant}")
        return super().resolve_command(ctx, args)


app = typer.Typer(cls=Commands, no_args_is_help=True, add_completion=True, pretty_exceptions_enable=False)

Overrides = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Override a key of the experiment.")
]
TargetKeys = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="target.KEY=VALUE", help="What else the server needs, as in a file."),
]
Seed = Annotated[int | None, typer.Option("--seed", help="Override the experiment's seed.", min=0)]
Out = Annotated[Path | None, typer.Option("--out", parser=out_path, help="The run folder: absent or empty.")]
Traces = Annotated[list[Path], typer.Argument(metavar="TRACES...", help="Trace files, or folders of them.")]
TracesFormat = Annotated[
    str, typer.Option("--format", help="auto: by their content; a format's NAME, or NAME:KEY=VALUE,...")
]
OnBroken = Annotated[
    str,
    typer.Option(
        "--on-broken",
        help="A broken part of a file: fail, or skip and tell; auto: skip in agents' logs, fail in traces.",
    ),
]


TokensMax = Annotated[
    int | None,
    typer.Option("--tokens-max", min=1, help="End before more tokens than this are sent and asked for."),
]
CostMax = Annotated[
    float | None, typer.Option("--cost-max", help="End before it costs more than this, by --prices.")
]
Prices = Annotated[Path | None, typer.Option("--prices", parser=local_path, help="A price list (YAML).")]
LivePage = Annotated[
    bool, typer.Option("--live", help="Show it on a page while it goes on; its URL is told on stderr.")
]
Plain = Annotated[
    bool, typer.Option("--plain", help="Plain lines on a terminal too, not a view that is drawn over.")
]
Yes = Annotated[bool, typer.Option("--yes", help="Load a public server without a bound.")]


def show_version(wanted: bool) -> None:
    """Print what runs here, and end."""
    if wanted:
        from swarm.records.origin import versions

        found = versions()
        print(f"swarm {found['swarm']} ({found['build']}), Python {found['python']}, Ray {found['ray']}")
        raise typer.Exit()


@app.callback()
def swarm(
    version: Annotated[
        bool, typer.Option("--version", callback=show_version, is_eager=True, help="Print the versions.")
    ] = False,
) -> None:
    """Emulate a swarm of coding agents against an inference fleet."""


@app.command()
def run(
    experiment: Annotated[
        Path | None, typer.Argument(parser=local_path, help="The experiment's YAML file.")
    ] = None,
    target: Annotated[
        str | None, typer.Option("--target", help="Base URL; none: the emulated fleet.")
    ] = None,
    overrides: Overrides = None,
    seed: Seed = None,
    out: Annotated[
        str | None,
        typer.Option(
            "--out", parser=out_path_or_url, help="The run folder, absent or empty; or a URL to copy it to."
        ),
    ] = None,
    resume: Annotated[
        Path | None,
        typer.Option("--resume", parser=local_path, metavar="RUN", help="Go on with a run that was cut off."),
    ] = None,
    tokens_max: TokensMax = None,
    cost_max: CostMax = None,
    prices: Prices = None,
    yes: Yes = False,
    live: LivePage = False,
    plain: Plain = False,
) -> None:
    """Drive a live target with the swarm, from Ray actors.

    Examples: swarm run experiments/quickstart.yaml | swarm run mine.yaml --target http://HOST:8000
    """
    from swarm.commands.costs import bounded, with_budget
    from swarm.commands.run import resume_live, run_live
    from swarm.config.read import read_experiment

    budget = bounded(tokens_max, cost_max, prices, agreed=yes)
    if resume is not None:
        if experiment is not None or target is not None or overrides or seed is not None or out is not None:
            raise UsageError("swarm run --resume RUN: the run says all the rest; give nothing else")
        raise typer.Exit(resume_live(resume, shows_page=live, only_lines=plain))
    if experiment is None:
        raise UsageError("swarm run: an EXPERIMENT is expected")
    changes = list(overrides or ())
    if target is not None:
        changes.append(f"target.urls=['{target}']")
    config = read_experiment(experiment, changes, seed=seed)
    if config.sweep is not None:
        left = "its sweep is not run live, only its base point; swarm simulate runs all points"
        print(f"{experiment}: {left}", file=sys.stderr)
    planned = with_budget(config, budget)
    raise typer.Exit(run_live(planned, out, shows_page=live, only_lines=plain))


@app.command()
def simulate(
    experiment: Annotated[Path, typer.Argument(parser=local_path, help="The experiment's YAML file.")],
    overrides: Overrides = None,
    seed: Seed = None,
    out: Out = None,
    jobs: Annotated[
        int | None,
        typer.Option("--jobs", min=1, help="Points of a sweep at once; none: as many as there are CPUs."),
    ] = None,
    live: LivePage = False,
) -> None:
    """Run the same swarm against the emulated fleet in virtual time; of a sweep, every point.

    Example: swarm simulate experiments/quickstart.yaml --set load.agents=100
    """
    from swarm.commands.simulate import run_simulated
    from swarm.config.read import read_experiment, read_points

    config = read_experiment(experiment, list(overrides or ()), seed=seed)
    if config.sweep is not None:
        from swarm.commands.sweep import run_sweep

        points = read_points(experiment, list(overrides or ()), seed=seed)
        raise typer.Exit(run_sweep(config, config.sweep, points, out=out, jobs=jobs, shows_page=live))
    raise typer.Exit(run_simulated(config, out, shows_page=live))


@app.command()
def serve(
    fleet: Annotated[
        Path, typer.Argument(parser=local_path, help="The fleet's YAML file, or an experiment's.")
    ],
    host: Annotated[str, typer.Option("--host", help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="0: any free port.")] = 8000,
    overrides: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Override a key of the file.")
    ] = None,
    api_key_env: Annotated[
        str | None, typer.Option("--api-key-env", metavar="NAME", help="Variable with the key to ask for.")
    ] = None,
    journal: Annotated[
        Path | None,
        typer.Option("--journal", parser=local_path, metavar="FILE", help="Record requests and events here."),
    ] = None,
) -> None:
    """Serve the emulated fleet as an OpenAI-compatible provider.

    Example: swarm serve experiments/fleets/h100x8.yaml --port 8000
    """
    from swarm.commands.serve import serve as serve_fleet
    from swarm.config.read import read_fleet

    config = read_fleet(fleet, list(overrides or ()))
    raise typer.Exit(serve_fleet(config, host=host, port=port, key_env=api_key_env, journal=journal))


@app.command()
def capture(
    upstream: Annotated[str, typer.Option("--upstream", metavar="URL", help="The server behind the proxy.")],
    out: Annotated[
        Path, typer.Option("--out", parser=out_path, metavar="DIR", help="Where captures are written.")
    ],
    host: Annotated[str, typer.Option("--host", help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="0: any free port.")] = 8100,
    keep_content: Annotated[
        bool, typer.Option("--keep-content", help="Write texts of prompts and replies as well.")
    ] = False,
    file_max: Annotated[int, typer.Option("--file-max", min=1, help="MiB of one file.")] = 64,
    disk_max: Annotated[
        int, typer.Option("--disk-max", min=1, help="MiB of all captures in the folder; the oldest go first.")
    ] = 8192,
    drain: Annotated[
        float, typer.Option("--drain", min=0, help="Seconds that open requests have after Ctrl-C.")
    ] = 10,
    ca_file: Annotated[
        str | None, typer.Option("--ca-file", help="Certificates to trust, for https.")
    ] = None,
) -> None:
    """Record what agents ask of a server: a proxy that passes bytes as they come, and keeps no text.

    Example: swarm capture --upstream https://api.anthropic.com --out captures
    """
    from swarm.commands.capture import Wish
    from swarm.commands.capture import capture as relay

    wish = Wish(
        upstream=upstream,
        out=out,
        host=host,
        port=port,
        keeps_content=keep_content,
        file_mib=file_max,
        folder_mib=disk_max,
        drain_s=drain,
        ca_file=ca_file,
    )
    raise typer.Exit(relay(wish))


@app.command()
def calibrate(
    target: Annotated[str, typer.Option("--target", help="Base URL of the server to probe.")],
    out: Annotated[
        Path, typer.Option("--out", parser=out_path, metavar="FILE", help="The fleet's YAML file to write.")
    ],
    api: Annotated[str, typer.Option("--api", help=f"What to send: {APIS}.")] = "completions",
    model: Annotated[str | None, typer.Option("--model", help="The model's name.")] = None,
    api_key_env: Annotated[
        str | None, typer.Option("--api-key-env", metavar="NAME", help="Variable with the server's key.")
    ] = None,
    overrides: TargetKeys = None,
) -> None:
    """Measure an idle server and write the emulated fleet that takes as long.

    Example: swarm calibrate --target http://HOST:8000 --out fleet.yaml
    """
    from swarm.commands.calibrate import run_calibrate
    from swarm.config.read import target_of

    data = {"urls": [target], "model": model, "api": api, "api_key_env": api_key_env}
    raise typer.Exit(run_calibrate(target_of(data, overrides or (), "swarm calibrate"), out))


@app.command()
def capacity(
    target: Annotated[str | None, typer.Option("--target", help="Base URL of the server to ask.")] = None,
    fleet: Annotated[
        Path | None,
        typer.Option("--fleet", parser=local_path, help="An emulated fleet's YAML file, in its place."),
    ] = None,
    model: Annotated[
        str | None, typer.Option("--model", help="The model's name; none: the first that the server lists.")
    ] = None,
    workload: Annotated[
        str | None,
        typer.Option("--workload", help="An experiment, a profile or traces; none: coding agents that fit."),
    ] = None,
    slo: Annotated[
        list[str] | None,
        typer.Option(
            "--slo",
            metavar="OBJECTIVE",
            help="What must hold, again for each; none: 'effective_ttft_s p95 <= 2' and 'tpot_s p95 <= 0.1'.",
        ),
    ] = None,
    minutes: Annotated[float, typer.Option("--minutes", min=1, help="How long it takes.")] = 10,
    agents_max: Annotated[int, typer.Option("--agents-max", min=1, help="Most agents tried.")] = 1024,
    tokens_max: TokensMax = None,
    cost_max: CostMax = None,
    prices: Prices = None,
    yes: Yes = False,
    api: Annotated[str, typer.Option("--api", help=f"What to send: {APIS}.")] = "chat",
    api_key_env: Annotated[
        str | None, typer.Option("--api-key-env", metavar="NAME", help="Variable with the server's key.")
    ] = None,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Another seed gives other sessions.")] = 1,
    overrides: TargetKeys = None,
    out: Out = None,
    live: LivePage = False,
) -> None:
    """Find how many coding agents a server, or an emulated fleet, carries within an SLO.

    Examples: swarm capacity --target http://HOST:8000 | swarm capacity --fleet fleet.yaml --minutes 60
    """
    from swarm.commands import capacity as asking
    from swarm.commands.costs import bounded
    from swarm.config.read import read_fleet, target_of

    if (target is None) == (fleet is None):
        raise UsageError("swarm capacity: either --target URL or --fleet FILE is expected")
    question = asking.Question(
        slo=tuple(map(asking.objective_of, slo or asking.SLO_DEFAULT)),
        workload=workload,
        minutes=minutes,
        agents_max=agents_max,
        seed=seed,
        budget=bounded(tokens_max, cost_max, prices, agreed=yes),
    )
    if fleet is not None:
        raise typer.Exit(asking.capacity_of_fleet(read_fleet(fleet, []), question, out, shows_page=live))
    data = {"urls": [target], "model": model, "api": api, "api_key_env": api_key_env}
    server = target_of(data, overrides or (), "swarm capacity")
    where = None if out is None else str(out)
    raise typer.Exit(asking.capacity_of_server(server, question, where, shows_page=live))


@app.command()
def catalog(
    kind: Annotated[
        str | None, typer.Argument(help="models, gpus, connectors, routers, policies or formats.")
    ] = None,
    name: Annotated[str | None, typer.Argument(help="One of them: an entry to copy.")] = None,
) -> None:
    """Say which names are known, and what one stands for.

    Examples: swarm catalog models | swarm catalog gpus H100
    """
    from swarm.commands.catalog import catalog as show

    raise typer.Exit(show(kind, name))


@app.command()
def doctor(
    target: Annotated[str | None, typer.Option("--target", help="A server to look at as well.")] = None,
    model: Annotated[str | None, typer.Option("--model", help="The model's name.")] = None,
    api_key_env: Annotated[
        str | None, typer.Option("--api-key-env", metavar="NAME", help="Variable with the server's key.")
    ] = None,
    ca_file: Annotated[
        str | None, typer.Option("--ca-file", help="Certificates to trust, for https.")
    ] = None,
    overrides: TargetKeys = None,
) -> None:
    """Look at this machine, and a server, for what would spoil a run; 1 where something must be mended.

    Examples: swarm doctor | swarm doctor --target http://HOST:8000
    """
    from swarm.commands.doctor import doctor as look

    data = {"urls": [target], "model": model, "api_key_env": api_key_env, "ca_file": ca_file}
    raise typer.Exit(look(None if target is None else data, overrides or ()))


@app.command()
def init(
    target: Annotated[str, typer.Option("--target", help="Base URL of the server.")],
    out: Annotated[
        Path, typer.Option("--out", parser=out_path, metavar="FILE", help="The experiment's file to write.")
    ],
    model: Annotated[str | None, typer.Option("--model", help="The model's name.")] = None,
    api_key_env: Annotated[
        str | None, typer.Option("--api-key-env", metavar="NAME", help="Variable with the server's key.")
    ] = None,
    overrides: TargetKeys = None,
) -> None:
    """Write a short experiment that fits a server.

    Example: swarm init --target http://HOST:8000 --out mine.yaml
    """
    from swarm.commands.init import init as write
    from swarm.config.read import target_of

    data = {"urls": [target], "model": model, "api_key_env": api_key_env}
    raise typer.Exit(write(target_of(data, overrides or (), "swarm init"), out))


@app.command()
def analyze(
    traces: Traces,
    ttl: Annotated[str, typer.Option("--ttl", help="Cache lifetimes in seconds.")] = "60,300,3600,inf",
    capacity: Annotated[
        str, typer.Option("--capacity", help="Cache sizes in tokens.")
    ] = "500000,1e6,2e6,5e6,1e7,2e7,5e7",
    format: TracesFormat = "auto",
    block_size: Annotated[
        int | None, typer.Option("--block-size", min=1, help="Tokens of a block, where files do not say.")
    ] = None,
    rows: Annotated[
        str | None, typer.Option("--rows", help="What a session's rows hold: cumulative or delta.")
    ] = None,
    on_broken: OnBroken = "auto",
    prices: Annotated[
        Path | None, typer.Option("--prices", parser=local_path, help="A price list (YAML).")
    ] = None,
    kv_bytes_per_token: Annotated[
        float | None, typer.Option("--kv-bytes-per-token", min=1, help="Size of the model's KV cache.")
    ] = None,
    model: Annotated[
        str | None, typer.Option("--model", help="Take that size from a model of the catalogue, or its YAML.")
    ] = None,
    kv_precision: Annotated[
        str, typer.Option("--kv-precision", help="How the model keeps its KV cache: bf16 or fp8.")
    ] = "bf16",
    target_hit_rate: Annotated[
        str, typer.Option("--target-hit-rate", help="Hit rates to size memory for.")
    ] = "0.5,0.8,0.9,0.95",
    json: Annotated[
        Path | None,
        typer.Option(
            "--json", parser=out_path, metavar="FILE", help="Write the result here; - is standard output."
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", parser=out_path, metavar="DIR", help="Write a report here: absent or empty."),
    ] = None,
) -> None:
    """Say what caches would make of recorded sessions: hits, re-prefills, working set, cost, memory."""
    from swarm.commands import analyze as analysis

    question = analysis.ask(
        ttls=ttl,
        capacities=capacity,
        targets=target_hit_rate,
        kv_bytes_per_token=analysis.kv_bytes(kv_bytes_per_token, model, kv_precision),
        prices=prices,
    )
    raise typer.Exit(
        analysis.analyze(
            traces,
            question=question,
            format=analysis.stated(format, block_size, rows),
            on_broken=on_broken,
            json_path=json,
            out=out,
        )
    )


@app.command()
def fit(
    traces: Traces,
    out: Annotated[
        Path, typer.Option("--out", parser=out_path, metavar="PROFILE.yaml", help="The profile's file.")
    ],
    format: TracesFormat = "auto",
    on_broken: OnBroken = "auto",
    report: Annotated[
        Path | None,
        typer.Option(
            "--report", parser=out_path, metavar="DIR", help="Write how well it fits: absent or empty."
        ),
    ] = None,
    name: Annotated[
        str | None, typer.Option("--name", help="The profile's name; default: the file's.")
    ] = None,
) -> None:
    """Learn a profile from recorded sessions: distributions and correlations, no content."""
    from swarm.commands.fit import fit_profile

    raise typer.Exit(
        fit_profile(traces, format=format, on_broken=on_broken, out=out, report=report, name=name)
    )


@app.command()
def convert(
    source: Annotated[Path, typer.Argument(parser=local_path, help="A trace file, or a folder of them.")],
    dest: Annotated[
        Path, typer.Argument(parser=out_path, help="A new file, or a new folder where a session is a file.")
    ],
    from_format: Annotated[
        str, typer.Option("--from", help="Format: weka, mooncake, ... or NAME:KEY=VALUE,...")
    ],
    to_format: Annotated[str, typer.Option("--to", help="Format to write, as for --from.")],
    on_broken: OnBroken = "auto",
) -> None:
    """Write recorded sessions in another format, and say what it cannot hold."""
    from swarm.commands.convert import convert as convert_traces

    raise typer.Exit(
        convert_traces(source, dest, from_format=from_format, to_format=to_format, on_broken=on_broken)
    )


@app.command()
def share(
    traces: Traces,
    out: Annotated[
        Path, typer.Option("--out", parser=out_path, metavar="DIR", help="A new folder, a file a session.")
    ],
    format: TracesFormat = "auto",
    on_broken: OnBroken = "auto",
    keep: Annotated[
        list[str] | None,
        typer.Option("--keep", metavar="NAME", help="Keep this name of a model or of a kind of sub-agent."),
    ] = None,
) -> None:
    """Write recorded sessions as one may hand them to others: no names, no dates, no texts to guess."""
    from swarm.commands.share import share as share_traces

    raise typer.Exit(share_traces(traces, format=format, on_broken=on_broken, keep=keep or (), out=out))


@app.command()
def generate(
    profile: Annotated[Path, typer.Argument(parser=local_path, help="The profile's YAML file.")],
    out: Annotated[
        Path, typer.Option("--out", parser=out_path, metavar="DIR", help="Where to write: absent or empty.")
    ],
    sessions: Annotated[int, typer.Option("--sessions", help="How many sessions.")] = 120,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Another seed gives other sessions.")] = 1,
    format: Annotated[
        str, typer.Option("--format", help="weka, mooncake, dag_jsonl or multi_turn; or NAME:KEY=VALUE,...")
    ] = "weka",
) -> None:
    """Write sessions drawn from a profile as traces."""
    from swarm.commands.generate import generate_traces

    raise typer.Exit(generate_traces(profile, sessions=sessions, seed=seed, out=out, format=format))


@app.command()
def validate(
    experiment: Annotated[Path, typer.Argument(parser=local_path, help="The experiment's YAML file.")],
    overrides: Overrides = None,
) -> None:
    """Check an experiment and every point of its sweep, or a fleet, without starting anything.

    Example: swarm validate experiments/quickstart.yaml
    """
    from swarm.commands.validate import validate as check

    raise typer.Exit(check(experiment, list(overrides or ())))


@app.command()
def report(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN...", help="Run folders; the first is the base.")],
    out: Annotated[Path | None, typer.Option("--out", parser=out_path, help="Where the page goes.")] = None,
    fail_on_regression: Annotated[
        bool, typer.Option("--fail-on-regression", help="Exit with 99 if a run is worse beyond noise.")
    ] = False,
) -> None:
    """Draw a run's report again, or hold runs against the first of them.

    Examples: swarm report results/RUN | swarm report BASE NEW --fail-on-regression
    """
    from swarm.commands.report import report as write

    raise typer.Exit(write(runs, out=out, fails_on_regression=fail_on_regression))


@app.command("watch")
def watch_run(
    place: Annotated[str, typer.Argument(metavar="RUN|URL", help="A run folder, or a live page's URL.")],
    host: Annotated[str, typer.Option("--host", help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="0: any free port.")] = 0,
    name: Annotated[
        list[str] | None,
        typer.Option("--name", help="Another host name that the page is asked by, again for each."),
    ] = None,
    terminal: Annotated[bool, typer.Option("--terminal", help="Show it here, not on a page.")] = False,
    plain: Plain = False,
    beside: Annotated[int, typer.Option("--beside", hidden=True)] = 0,
    held: Annotated[int, typer.Option("--held", hidden=True)] = -1,
) -> None:
    """Show a run, a simulation or a sweep while it goes on: a folder's on a page, a page's URL here.

    Examples: swarm watch results/RUN | swarm watch results/RUN --terminal | swarm watch 'http://HOST:PORT/?token=...'
    """
    from swarm.commands.watch import watch, watch_here
    from swarm.urls import is_url

    if terminal or is_url(place):
        raise typer.Exit(watch_here(place, only_lines=plain, beside=beside, held=held))
    raise typer.Exit(watch(place, address=host, port=port, hosts=tuple(name or ()), beside=beside))


@app.command()
def export(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN...", help="Run folders.")],
    to: Annotated[str, typer.Option("--to", help="csv (a folder), junit or openmetrics (a file).")],
    out: Annotated[Path, typer.Option("--out", parser=out_path, help="Where it goes.")],
) -> None:
    """Write a run's tables as CSV, its verdicts as JUnit XML, or its time series as OpenMetrics.

    Examples: swarm export results/RUN --to junit --out run.xml |
    swarm export results/RUN --to openmetrics --out run.om;
    promtool tsdb create-blocks-from openmetrics run.om data/
    """
    from swarm.commands.export import export as write

    raise typer.Exit(write(runs, kind=to, out=out))


def main() -> None:
    """Run the command line: 2 for a wrong command or file, 1 for a failed run, 128 and more for a signal."""
    # Nothing here multiplies matrices worth a second thread: numpy's would only spin at the start.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    end_on_signals()
    if isinstance(sys.stdout, io.TextIOWrapper):
        # A path is printed as the bytes it has, which need not be text.
        sys.stdout.reconfigure(errors="surrogateescape")
    try:
        try:
            app(standalone_mode=True)
        finally:
            ignore_signals()
            # What is left goes with the process: nobody need look through it for cycles.
            gc.freeze()
    except (ConfigError, UsageError) as fault:
        print(f"swarm: {fault}", file=sys.stderr)
        sys.exit(2)
    except Interrupted as fault:
        print(f"swarm: {fault}", file=sys.stderr)
        sys.exit(128 + fault.number)
    except SwarmError as fault:
        print(f"swarm: {fault}", file=sys.stderr)
        sys.exit(1)
    except OSError as fault:
        if fault.errno in FULL_DISKS:
            place = f"{fault.filename}: " if fault.filename is not None else ""
            print(f"swarm: {place}cannot be written: {fault.strerror}; make room", file=sys.stderr)
            sys.exit(1)
        is_path = isinstance(fault, WRONG_PATHS) or fault.errno in WRONG_NAMES
        if not is_path or fault.filename is None:
            raise
        print(f"swarm: {fault.filename}: {fault.strerror}", file=sys.stderr)
        sys.exit(2)
