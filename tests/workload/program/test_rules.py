"""Programs that break the rules are told so by name: program, agent, what was yielded and what to do."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from swarm import cli
from swarm.config.experiment import Experiment
from swarm.sim.run import simulate
from swarm.workload.source import Material, load_scripts

BROKEN = {
    "a number": ("yield 5", "it yielded 5", "yield an effect: Think, Infer, Spawn or Join"),
    "nothing": ("yield", "it yielded None", "yield an effect"),
    "a class": ("yield Think", "Think needs its arguments"),
    "a generator": ("yield main(agent)", "write `yield from`"),
    "a think of text": ("yield Think('long')", "seconds are a number from 0 on"),
    "a think back in time": ("yield Think(-1.0)", "Think(seconds=-1.0", "seconds are a number from 0 on"),
    "a think of no end": ("yield Think(float('inf'))", "seconds are a number from 0 on"),
    "an unknown kind": ("yield Think(1.0, 'coffee')", "kind is one of start, tool, human"),
    "a prompt of text": ("yield Infer('hello', 5, False)", "prompt is a place in a context"),
    "no output": ("agent.append(5); yield agent.infer(0)", "infer: 1 tokens at least are expected, got 0"),
    "half a token": ("agent.append(2.5); yield agent.infer(1)", "append: a whole number of tokens", "int()"),
    "an empty context": ("yield agent.infer(5)", "the context is empty; append something first"),
    "a late beginning": (
        "agent.append(5); agent.begin_with('x', 5); yield",
        "begin_with('x', 5) comes first",
    ),
    "a stale request": (
        "agent.append(5); ask = agent.infer(5); agent.append(5); yield ask",
        "yield it at once",
    ),
    "a lambda": ("yield agent.spawn(lambda agent: None)", "has no name in a module"),
    "a nameless child": ("yield agent.spawn('nowhere:main')", "there is no module 'nowhere'"),
    "another's child": ("yield Spawn(Agent('x', 'x', None, 'r', main))", "a child's path is s000000/NUMBER"),
    "a start back in time": (
        "yield Spawn(Agent('s000000/0', 's000000', 's000000', 'r', main), -1.0)",
        "after_s is a number of seconds from 0 on",
    ),
    "a stranger": ("yield Join(('s000000/7',))", "s000000/7 is no child of this agent"),
    "a path alone": ("yield Join('s000000/0')", "a tuple of paths is expected"),
    "an error": ("agent.append(1); yield 1 / 0", "it raised ZeroDivisionError: division by zero", ".py:"),
    "a plain function": ("return 5", "a generator is expected, found 5"),
    "no end": ("while True: yield Think(1.0)", "10,000 effects and no request", "is a loop endless?"),
    "a sleep": (
        "import time; time.sleep(1.2); yield Think(1.0)",
        "it took more than 1 s between two effects",
    ),
    "a busy loop": (
        "while True: pass\n    yield",
        "it took more than 1 s between two effects",
        "Think(seconds)",
    ),
    "a return of code": ("agent.append(1); yield agent.infer(1); return lambda: 0", "cannot be sent"),
}


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str | Path) -> int:
    """Return the exit code of the command, as the shell sees it."""
    monkeypatch.setattr(sys, "argv", ["swarm", *map(str, arguments)])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    return int(ended.value.code or 0)


def saved(folder: Path, experiment: dict[str, Any]) -> Path:
    path = folder / "experiment.json"
    path.write_text(json.dumps(experiment))
    return path


@pytest.mark.parametrize("name", BROKEN)
@pytest.mark.parametrize("command", ["validate", "simulate"])
def test_a_first_session_that_breaks_a_rule_is_refused_by_name(
    write: Any, tmp_path: Path, monkeypatch: Any, capsys: Any, command: str, name: str
) -> None:
    body, *words = BROKEN[name]
    asked = write(f"def main(agent):\n    {body}\n")
    options = ["--out", tmp_path / "out"] if command == "simulate" else []
    assert run(monkeypatch, command, saved(tmp_path, asked), *options) == 2
    told = capsys.readouterr().err
    for word in ("workload.program: program program_", "agent s000000", *words):
        assert word in told
    assert "Traceback" not in told
    assert not (tmp_path / "out").exists()


IMPORTS = {
    "a module that is not there": ("programm:main", "there is no module 'programm' in", "installed"),
    "a function that is not there": ("{module}:mian", "has no 'mian'; did you mean 'main'?"),
    "a function far from any": ("{module}:walk", "its generator functions: main"),
    "no function": ("{module}:CONSTANT", "a generator function is expected, found int"),
    "an async one": ("{module}:later", "it is async", "programs do no I/O"),
    "no colon": ("{module}", "module:function is expected, as in agents:orchestrator"),
}


@pytest.mark.parametrize("name", IMPORTS)
def test_a_program_that_cannot_be_found_is_told_with_what_is_there(
    write: Any, tmp_path: Path, monkeypatch: Any, capsys: Any, name: str
) -> None:
    asked = write(
        "CONSTANT = 5\n\n\nasync def later(agent):\n    pass\n\n\ndef main(agent):\n    yield Think(1.0)\n"
    )
    module = asked["workload"]["program"].partition(":")[0]
    given, *words = IMPORTS[name]
    asked["workload"]["program"] = given.format(module=module)
    assert run(monkeypatch, "validate", saved(tmp_path, asked)) == 2
    told = capsys.readouterr().err
    assert all(word in told for word in words), told


@pytest.mark.parametrize(
    ("head", "words"),
    [
        ("import no_such_library\n", "it imports 'no_such_library', which is not installed"),
        ("1 / 0\n", "its import fails: ZeroDivisionError: division by zero"),
        ("def (\n", "its import fails: SyntaxError"),
        ("raise SystemExit(3)\n", "its import fails: SystemExit: 3"),
    ],
)
def test_a_module_whose_import_fails_is_told_with_why(
    write: Any, tmp_path: Path, monkeypatch: Any, capsys: Any, head: str, words: str
) -> None:
    asked = write("def main(agent):\n    yield\n", head=head)
    assert run(monkeypatch, "validate", saved(tmp_path, asked)) == 2
    assert words in capsys.readouterr().err


def test_a_module_of_a_name_that_is_taken_is_refused(
    tmp_path: Path, write: Any, monkeypatch: Any, capsys: Any
) -> None:
    asked = write("def main(agent):\n    yield\n")
    (tmp_path / "json.py").write_text("def main(agent):\n    yield\n")
    asked["workload"]["program"] = "json:main"
    assert run(monkeypatch, "validate", saved(tmp_path, asked)) == 2
    assert "is imported under that name already; rename one of the two" in capsys.readouterr().err


UNSTEADY = {
    "global chance": "import random\n\n\ndef main(agent):\n    yield Think(random.random())\n",
    "a clock": "import time\n\n\ndef main(agent):\n    yield Think(time.monotonic())\n",
    "a count": (
        "COUNT = []\n\n\ndef main(agent):\n    COUNT.append(1)\n"
        "    agent.append(len(COUNT))\n    yield agent.infer(5)\n"
    ),
    "a shorter life": (
        "COUNT = []\n\n\ndef main(agent):\n    COUNT.append(1)\n    yield Think(1.0)\n"
        "    if len(COUNT) == 1:\n        yield Think(1.0)\n"
    ),
    "a child's": (
        "COUNT = []\n\n\ndef child(agent):\n    COUNT.append(1)\n    yield Think(len(COUNT))\n\n\n"
        "def main(agent):\n    yield agent.spawn(child)\n"
    ),
}


@pytest.mark.parametrize("name", UNSTEADY)
def test_a_program_that_differs_when_it_is_run_again_is_refused(
    write: Any, tmp_path: Path, monkeypatch: Any, capsys: Any, name: str
) -> None:
    assert run(monkeypatch, "validate", saved(tmp_path, write(UNSTEADY[name]))) == 2
    told = capsys.readouterr().err
    assert "differs when it is run again" in told
    assert "agent.chance(purpose)" in told


LATER = """
    def main(agent):
        agent.append(50)
        yield agent.infer(5)
        if agent.session == "s000003":
            yield "surprise"
        while True:
            yield Think(1.0)
            yield agent.infer(5)
"""


def test_a_simulation_in_which_a_later_session_breaks_a_rule_ends_there_and_is_invalid(
    write: Any, tmp_path: Path, monkeypatch: Any
) -> None:
    assert run(monkeypatch, "simulate", saved(tmp_path, write(LATER)), "--out", tmp_path / "out") == 1
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    (reason,) = [reason for reason in summary["invalid_reasons"] if "surprise" in reason]
    assert ":main, agent s000003: it yielded 'surprise'" in reason
    assert summary["duration_s"] == pytest.approx(1.5 + 5 * 0.001, abs=0.1)
    assert summary["requests"]["finished"] > 0


def test_children_made_by_hand_are_held_to_the_rules(write: Any) -> None:
    asked = write(
        """
        def child():
            yield Think(-5.0)


        def main(agent):
            agent.append(5)
            yield agent.infer(1)
            if agent.session == "s000001":
                yield Spawn(Agent("s000001/own", "s000001", "s000001", "r", child))
        """,
        load={"agents": 3, "replace": False, "duration_s": None},
    )
    config = Experiment.model_validate(asked)
    (fault,) = simulate(config, load_scripts(config.workload, 1, 1)).totals.faults
    assert "agent s000001/own: it yielded Think(seconds=-5.0" in fault


def test_a_fault_in_the_first_instant_leaves_a_summary(write: Any) -> None:
    asked = write("def main(agent):\n    yield 'at once'\n")
    config = Experiment.model_validate(asked)
    settled = simulate(config, Material())
    assert "it yielded 'at once'" in settled.totals.faults[0]
    assert settled.rows.num_rows == 0
