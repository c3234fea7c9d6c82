"""A user's function by its name, `module:function`, with errors that say where it was looked for."""

from __future__ import annotations

import importlib
import inspect
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from difflib import get_close_matches
from pathlib import Path
from types import ModuleType
from typing import Any

from swarm.errors import ConfigError

NAMES_SHOWN_MAX = 8


def find_program(name: str, folders: Sequence[str]) -> Callable[..., Any]:
    """Return the function; its module is imported from the first of `folders` that has it, or as installed.

    Raises:
        ConfigError: There is no such module or function, its import fails, or it can yield no effects.
    """
    module_name, _, attribute = name.partition(":")
    module = _module(name, module_name, folders)
    found: Any = module
    for part in attribute.split("."):
        if not hasattr(found, part):
            raise ConfigError(
                f"program {name}: {_origin(module)} has no {attribute!r}{_nearest(attribute, module)}"
            )
        found = getattr(found, part)
    if inspect.iscoroutinefunction(found) or inspect.isasyncgenfunction(found):
        raise ConfigError(f"program {name}: it is async; write `def` and `yield`: programs do no I/O")
    if not callable(found) or inspect.isclass(found):
        raise ConfigError(f"program {name}: a generator function is expected, found {type(found).__name__}")
    return found  # type: ignore[no-any-return]


def known_program(name: str, folders: Sequence[str]) -> Callable[..., Any]:
    """Return the function of a module that is imported already; where it is not, find it."""
    module_name, _, attribute = name.partition(":")
    found: Any = sys.modules.get(module_name)
    for part in attribute.split("."):
        found = getattr(found, part, None)
    return find_program(name, folders) if found is None else found


def _module(name: str, module_name: str, folders: Sequence[str]) -> ModuleType:
    places = list(dict.fromkeys(str(Path(folder).resolve()) for folder in folders if Path(folder).is_dir()))
    _refuse_another(name, module_name, places)
    try:
        with _first_on_the_path(places):
            importlib.invalidate_caches()
            module = importlib.import_module(module_name)
    except ModuleNotFoundError as fault:
        if fault.name is not None and f"{module_name}.".startswith(f"{fault.name}."):
            stems = [path.stem for place in places for path in sorted(Path(place).glob("*.py"))]
            looked = ", ".join(places)
            raise ConfigError(
                f"program {name}: there is no module {module_name!r} in {looked}, and none is installed"
                f"{_like(module_name, stems)}"
            ) from None
        raise ConfigError(f"program {name}: it imports {fault.name!r}, which is not installed") from None
    except (Exception, SystemExit) as fault:
        raise ConfigError(f"program {name}: its import fails: {told(fault)}") from fault
    # They stay, but behind all others: the module may import its neighbours later, and hides nobody's.
    sys.path += [place for place in places if place not in sys.path]
    return module


@contextmanager
def _first_on_the_path(places: Sequence[str]) -> Iterator[None]:
    before = list(sys.path)
    sys.path[:0] = places
    try:
        yield
    finally:
        sys.path[:] = before


def _refuse_another(name: str, module_name: str, places: Sequence[str]) -> None:
    """Refuse a module that hides behind one of the same name which is imported already."""
    first = module_name.partition(".")[0]
    known = getattr(sys.modules.get(first), "__file__", None)
    if known is None:
        return
    for place in places:
        files = (Path(place) / f"{first}.py", Path(place) / first / "__init__.py")
        asked = next((file for file in files if file.is_file()), None)
        if asked is None:
            continue
        if asked.resolve() != Path(known).resolve():
            raise ConfigError(
                f"program {name}: {asked} is asked for, and {known} is imported under that name already; "
                "rename one of the two"
            )
        return


def told(fault: BaseException) -> str:
    """Return an exception in one line: its kind, its text, and where it was raised."""
    text = f"{type(fault).__name__}: {fault}" if str(fault) else type(fault).__name__
    frames = traceback.extract_tb(fault.__traceback__)
    where = f" ({frames[-1].filename}:{frames[-1].lineno})" if frames else ""
    return f"{' '.join(text.split())}{where}"


def _origin(module: ModuleType) -> str:
    return str(getattr(module, "__file__", None) or module.__name__)


def _nearest(attribute: str, module: ModuleType) -> str:
    names = [each for each, value in vars(module).items() if inspect.isgeneratorfunction(value)]
    close = _like(attribute, names)
    if close or not names:
        return close or "; it has no generator functions"
    return f"; its generator functions: {', '.join(names[:NAMES_SHOWN_MAX])}"


def _like(name: str, names: Sequence[str]) -> str:
    close = get_close_matches(name, names, n=1)
    return f"; did you mean {close[0]!r}?" if close else ""
