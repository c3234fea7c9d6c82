#!/usr/bin/env python
"""Write docs/reference.md and two JSON schemas (experiments, fleets) from the configuration's models.

    python scripts/config_reference.py [--check]

`--check` writes nothing and exits 1 where a file is not what the models say, or where a key has no words.
"""

from __future__ import annotations

import argparse
import ast
import inspect
import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import annotated_types
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from swarm.config.experiment import Experiment
from swarm.config.fleet import FleetConfig
from swarm.config.strict import BOUNDS

DOCS = Path(__file__).parent.parent / "docs"
OPENING = """\
# Every key of an experiment

This page is made from the configuration's models by `python scripts/config_reference.py`; a test holds it to
them. Each section is one mapping of the YAML file. A key without a default must be given. Unknown keys are
refused, with the nearest known one. A key's unit ends its name: `_s` are seconds, `_tokens` tokens, `_gib`
2^30 bytes, `_per_s` a rate, `_share` a part of 1. The unit also bounds a number:BOUNDS.

Editors check a file as it is written when its first line is
`# yaml-language-server: $schema=PATH/docs/experiment.schema.json`, for a fleet's `docs/fleet.schema.json`.

`swarm validate FILE` checks a file, with all that a schema cannot say. `--set KEY=VALUE` takes the dotted
names below.
"""
WHOLE, NUMBER = "whole number", "number"
SIMPLE = {int: WHOLE, float: NUMBER, str: "text", bool: "true or false", Path: "path", Any: "anything"}
SHARED_FROM = 3
"""A model at so many places has one section, which the places name."""


@dataclass(frozen=True)
class Section:
    """One model at one place of an experiment; `place` is its dotted name."""

    place: str
    model: type[BaseModel]


def models_in(annotation: Any) -> list[type[BaseModel]]:
    """Return the models that an annotation names, in order."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for part in get_args(annotation) for model in models_in(part)]


def places(model: type[BaseModel], place: str = "") -> Iterator[Section]:
    """Yield a model's section, then those of the models within it, depth first."""
    yield Section(place, model)
    for name, field in model.model_fields.items():
        is_list = get_origin(_bare(field.annotation)) is tuple
        for inner in models_in(field.annotation):
            yield from places(inner, f"{place}.{name}".strip(".") + ("[]" if is_list else ""))


def sections_of(root: type[BaseModel]) -> tuple[list[Section], list[type[BaseModel]]]:
    """Return the sections to print, and the models that are printed once for all their places."""
    every = list(places(root))
    counts: dict[type[BaseModel], int] = {}
    for section in every:
        counts[section.model] = counts.get(section.model, 0) + 1
    shared = [model for model, count in counts.items() if count >= SHARED_FROM]
    return [section for section in every if section.model not in shared], shared


def meanings(model: type[BaseModel]) -> dict[str, str]:
    """Return what each key means: its description, or the text that stands below it in the source."""
    (tree,) = ast.parse(inspect.cleandoc("\n" + inspect.getsource(model))).body
    assert isinstance(tree, ast.ClassDef)
    below: dict[str, str] = {}
    for line, following in pairwise(tree.body):
        match line, following:
            case ast.AnnAssign(target=ast.Name(id=key)), ast.Expr(value=ast.Constant(value=str(text))):
                below[key] = " ".join(text.split()).rstrip(".")
    return {
        name: field.description or below.get(name, "") or _only_of_the_model(field, model)
        for name, field in model.model_fields.items()
    }


def _only_of_the_model(field: FieldInfo, model: type[BaseModel]) -> str:
    """Return words for a key that needs none of its own: another section, or the name of its kind."""
    inner = models_in(field.annotation)
    if inner:
        return _first_sentence(inner[0]) if len(inner) == 1 else "one of the kinds below"
    if get_origin(field.annotation) is Literal and field.default in get_args(field.annotation):
        return "names the kind" if len(get_args(field.annotation)) == 1 else ""
    return ""


def _first_sentence(model: type[BaseModel]) -> str:
    sentence = " ".join(inspect.cleandoc(model.__doc__ or "").split("\n\n")[0].split()).rstrip(".")
    return sentence[:1].lower() + sentence[1:]


def _bare(annotation: Any) -> Any:
    """Return an annotation without `Annotated` and without None."""
    if get_origin(annotation) is Annotated:
        return _bare(get_args(annotation)[0])
    if get_origin(annotation) in (Union, UnionType):
        parts = [part for part in get_args(annotation) if part is not NoneType]
        if len(parts) == 1:
            return _bare(parts[0])
    return annotation


def kind_of(annotation: Any, within: bool = False) -> str:
    """Return a type in words."""
    annotation = _bare(annotation)
    origin, parts = get_origin(annotation), get_args(annotation)
    if annotation in SIMPLE:
        return SIMPLE[annotation] + ("s" if within and annotation in (int, float, Path) else "")
    if origin is Literal:
        return " or ".join(f"`{json.dumps(part) if not isinstance(part, str) else part}`" for part in parts)
    if origin is tuple and len(parts) == 2 and parts[1] is Ellipsis:
        inner = kind_of(parts[0], within=True)
        return f"list of {inner}"
    if origin is tuple:
        return "[" + ", ".join(kind_of(part) for part in parts) + "]"
    if origin is dict:
        return f"mapping to {kind_of(parts[1], within=True)}"
    if models_in(annotation):
        return "mappings" if within else "mapping"
    if origin in (Union, UnionType):
        return " or ".join(dict.fromkeys(kind_of(part) for part in parts))
    return "anything"


def bounds_of(name: str, field: FieldInfo) -> str:
    """Return a key's bounds in words: from its type, and from the unit that ends its name."""
    low, high, words = "", "", []
    metadata = [*field.metadata]
    for each in metadata:
        if isinstance(each, annotated_types.Ge):
            low = f"from {_number(each.ge)}"
        elif isinstance(each, annotated_types.Gt):
            low = f"above {_number(each.gt)}"
        elif isinstance(each, annotated_types.Le):
            high = f"to {_number(each.le)}"
        elif isinstance(each, annotated_types.Lt):
            high = f"below {_number(each.lt)}"
        elif isinstance(each, annotated_types.MinLen):
            words.append(f"at least {each.min_length} long")
        elif isinstance(each, annotated_types.MaxLen):
            words.append(f"at most {each.max_length} long")
        elif getattr(each, "pattern", None) is not None:
            words.append(f"`{each.pattern}`".replace("|", "\\|"))
    return ", ".join([" ".join(filter(None, (low, high))), *words]).strip(", ")


def _number(value: Any) -> str:
    if isinstance(value, int) and 10_000 <= abs(value) < 2**53:
        return f"{value:,}"
    return f"{value:g}" if isinstance(value, float) else str(value)


def default_of(field: FieldInfo) -> str:
    """Return a key's default as YAML; empty where it must be given."""
    if field.is_required():
        return ""
    value = field.get_default(call_default_factory=True)
    assert value is not PydanticUndefined
    return f"`{_yaml(value)}`" if len(_yaml(value)) <= 160 else "see its section"


def _yaml(value: Any) -> str:
    if isinstance(value, BaseModel):
        given = value.model_fields_set or ()
        inner = ", ".join(
            f"{key}: {_yaml(getattr(value, key))}" for key in type(value).model_fields if key in given
        )
        return "{" + inner + "}"
    if isinstance(value, tuple | list):
        return "[" + ", ".join(map(_yaml, value)) + "]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {_yaml(each)}" for key, each in value.items()) + "}"
    if isinstance(value, bool) or value is None:
        return json.dumps(value)
    if isinstance(value, int | float):
        return f"{value:g}" if isinstance(value, float) else str(value)
    return str(value) or '""'


def table(model: type[BaseModel]) -> list[str]:
    """Return a model's keys as lines of a Markdown table."""
    lines = ["| key | value | default | meaning |", "| --- | --- | --- | --- |"]
    words = meanings(model)
    for name, field in model.model_fields.items():
        value = ", ".join(filter(None, (kind_of(field.annotation), bounds_of(name, field))))
        may_be_null = NoneType in get_args(field.annotation)
        value += " or null" if may_be_null else ""
        meaning = words[name].replace("|", "\\|")
        lines.append(f"| `{name}` | {value} | {default_of(field)} | {meaning} |")
    return lines


def reference() -> str:
    """Return docs/reference.md."""
    sections, shared = sections_of(Experiment)
    bounds = "\n" + ", ".join(f"`{unit}` at most {most:g}" for unit, most in BOUNDS.items())
    lines = [OPENING.replace("BOUNDS", bounds)]
    kinds: dict[str, int] = {}
    for section in sections:
        kinds[section.place] = kinds.get(section.place, 0) + 1
    for section in sections:
        title = f"`{section.place}`" if section.place else "The file"
        kind = section.model.model_fields.get("kind")
        if kinds[section.place] > 1 and kind is not None:
            title += f", kind `{kind.default}`"
        lines += [
            f"## {title}",
            "",
            inspect.cleandoc(section.model.__doc__ or ""),
            "",
            *table(section.model),
            "",
        ]
    for model in shared:
        where = [f"`{each.place}`" for each in places(Experiment) if each.model is model]
        lines += [f"## {model.__name__.removesuffix('Config')}, at several places", ""]
        lines += [
            inspect.cleandoc(model.__doc__ or ""),
            "",
            *table(model),
            "",
            f"It stands at {', '.join(where)}.",
            "",
        ]
    return "\n".join(lines).rstrip() + "\n"


def schema(root: type[BaseModel], title: str) -> str:
    """Return a model's JSON schema, with what each key means."""
    data = root.model_json_schema()
    data["title"] = title
    data["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    by_name = {each.model.__name__: each.model for each in places(root)}
    for name, definition in [(root.__name__, data), *data.get("$defs", {}).items()]:
        for key, said in (meanings(by_name[name]) if name in by_name else {}).items():
            if said and key in definition["properties"]:
                definition["properties"][key]["description"] = said
    if "LognormalConfig" in data.get("$defs", {}):
        number = {"type": "number", "minimum": 0}
        data["$defs"]["LognormalConfig"] = {"anyOf": [data["$defs"]["LognormalConfig"], number]}
    if root is Experiment:
        by_path = {"type": "string", "description": "path of a fleet's file"}
        data["properties"]["fleet"] = {"anyOf": [data["properties"]["fleet"], by_path]}
        base = {"type": "string", "description": "path of a fleet's file, whose keys stand here changed"}
        data["$defs"]["FleetConfig"]["properties"]["base"] = base
    return json.dumps(data, indent=1, sort_keys=True) + "\n"


def wordless() -> list[str]:
    """Return the keys that nothing is said of."""
    found = {
        f"{section.model.__name__}.{name}"
        for section in places(Experiment)
        for name, words in meanings(section.model).items()
        if not words
    }
    return sorted(found)


def files() -> dict[Path, str]:
    """Return what each file must hold."""
    return {
        DOCS / "reference.md": reference(),
        DOCS / "experiment.schema.json": schema(Experiment, "A Swarm experiment"),
        DOCS / "fleet.schema.json": schema(FleetConfig, "A Swarm fleet"),
    }


def main() -> int:
    """Write the files, or check them."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--check", action="store_true")
    arguments = parser.parse_args()
    silent = wordless()
    for key in silent:
        print(f"{key}: no words: give its field a description", file=sys.stderr)
    stale = [path for path, text in files().items() if not path.is_file() or path.read_text() != text]
    for path in stale:
        if arguments.check:
            print(f"{path}: is not what the models say: run scripts/config_reference.py", file=sys.stderr)
        else:
            path.write_text(files()[path])
    return int(bool(silent or (stale and arguments.check)))


if __name__ == "__main__":
    sys.exit(main())
