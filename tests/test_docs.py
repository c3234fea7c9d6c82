"""Files, modules and rooms that the pages name are there; functions and folders stay small."""

import ast
import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = sorted([*(ROOT / "docs").glob("*.md"), ROOT / "README.md", ROOT / "CHANGELOG.md"])
FOLDERS = "swarm|tests|docs|experiments|examples|scripts|benchmarks|deploy"
FUNCTION_LINES_MAX = 60
FILES_MAX = 30


def module_is_there(name: str) -> bool:
    """Whether `swarm.a.b` is a module, or a name of a module or of `swarm` itself."""
    parts = name.split(".")
    place = ROOT.joinpath(*parts)
    if place.is_dir() or place.with_suffix(".py").is_file():
        return True
    holder = place.parent / "__init__.py" if place.parent.is_dir() else place.parent.with_suffix(".py")
    return holder.is_file() and parts[-1] in names_in(holder)


def names_in(module: Path) -> set[str]:
    """Return what a module binds, and the entries of its `__all__`."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(module.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            found.add(node.name)
        elif isinstance(node, ast.Name):
            found.add(node.id)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            found.add(node.value)
    return found


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_files_that_a_page_names_are_there(page: Path) -> None:
    named = re.findall(rf"(?<![\w/.-])((?:{FOLDERS})/[\w./-]+\.\w+)", page.read_text(encoding="utf-8"))
    assert [path for path in named if not (ROOT / path).is_file()] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_pages_that_a_page_links_to_are_there(page: Path) -> None:
    linked = re.findall(r"\]\(([\w./-]+)\)", page.read_text(encoding="utf-8"))
    assert [path for path in linked if not (page.parent / path).is_file()] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_modules_that_a_page_names_are_there(page: Path) -> None:
    named = re.findall(r"(?<![\w/.-])swarm(?:\.[a-z]\w*)+", page.read_text(encoding="utf-8"))
    assert [name for name in named if not module_is_there(name)] == []


def test_a_name_that_is_nowhere_is_found_out() -> None:
    there = {"swarm.fleet.routing.router", "swarm.simulate", "swarm.fleet.routing.router.ROUTERS"}
    assert {name for name in {*there, "swarm.measure.rows", "swarm.gone.x"} if module_is_there(name)} == there


def test_the_picture_of_rooms_is_the_order_that_imports_keep() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    layers = settings["tool"]["importlinter"]["contracts"][0]["layers"]
    depth = {
        room.strip().removeprefix("swarm."): number
        for number, layer in enumerate(layers)
        for room in layer.split("|")
    }
    page = (ROOT / "docs" / "structure.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (`.*?) \|", page.split("## Rooms")[1].split("## To add one")[0], re.M)
    shown = [
        name.removesuffix("/").removesuffix(".py")
        for row in rows
        for name in re.findall(r"`(\w+(?:/|\.py))`", row)
    ]
    assert sorted(shown) == sorted(depth)
    assert [depth[name] for name in shown] == sorted(depth.values())


def test_every_folder_is_in_the_picture_of_rooms() -> None:
    page = (ROOT / "docs" / "structure.md").read_text(encoding="utf-8")
    folders = [file.parent for file in (ROOT / "swarm").rglob("__init__.py") if file.parent.name != "swarm"]
    assert [folder for folder in folders if f"{folder.name}/" not in page] == []


def test_every_room_says_what_it_is() -> None:
    rooms = [file for file in (ROOT / "swarm").rglob("__init__.py") if file.parent.parent == ROOT / "swarm"]
    said = {
        file.parent.name: ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) for file in rooms
    }
    silent = [
        room
        for room, words in said.items()
        if not words or "Knows" not in words or "Does not know" not in words
    ]
    assert silent == []


def test_no_function_is_long_and_no_folder_full() -> None:
    long = [
        f"{file.relative_to(ROOT)}:{node.lineno} {node.name}"
        for file in (ROOT / "swarm").rglob("*.py")
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (node.end_lineno or node.lineno) - node.lineno + 1 > FUNCTION_LINES_MAX
    ]
    folders = {file.parent for file in (ROOT / "swarm").rglob("*.py")}
    full = [folder.name for folder in folders if len(list(folder.glob("*.py"))) > FILES_MAX]
    assert (long, full) == ([], [])
