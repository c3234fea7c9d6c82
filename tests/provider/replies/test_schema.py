"""Values for schemas: a validator that is not ours says whether they fit."""

from __future__ import annotations

from typing import Any

import pytest
from jsonschema import Draft202012Validator

from swarm.provider.replies.schema import SchemaFault, value_for
from swarm.streams import stream

SCHEMAS: dict[str, dict[str, Any]] = {
    "any": {},
    "a type of several": {"type": ["string", "null"]},
    "a constant": {"const": {"a": [1]}},
    "an enumeration": {"enum": [1, "b", None]},
    "bounds": {"type": "integer", "minimum": 3, "exclusiveMaximum": 5},
    "a multiple": {"type": "number", "multipleOf": 0.5, "minimum": 7.2},
    "only a maximum": {"type": "number", "maximum": -5},
    "a wide range": {"type": "integer", "minimum": -(2**53), "maximum": 2**53},
    "a text": {"type": "string", "minLength": 40, "maxLength": 41},
    "a pattern": {"type": "string", "pattern": r"^(\d{4})-[A-F]+(x|yz)?\1$"},
    "an address": {"type": "string", "format": "email"},
    "different items": {"type": "array", "items": {"enum": [1, 2, 3]}, "uniqueItems": True, "minItems": 3},
    "a tuple": {
        "type": "array",
        "prefixItems": [{"type": "string"}, {"type": "null"}],
        "items": False,
        "minItems": 2,
    },
    "other properties": {"type": "object", "additionalProperties": {"type": "integer"}, "minProperties": 2},
    "no other properties": {
        "properties": {"a": {"type": "null"}},
        "additionalProperties": False,
        "required": ["a"],
    },
    "all of": {"allOf": [{"properties": {"a": {"type": "integer"}}}, {"required": ["a"]}]},
    "one of": {"oneOf": [{"type": "integer", "minimum": 5}, {"type": "string"}]},
    "a reference": {
        "$defs": {"x": {"type": "boolean"}},
        "properties": {"a": {"$ref": "#/$defs/x"}},
        "required": ["a"],
    },
    "a tree": {
        "type": "object",
        "properties": {"next": {"anyOf": [{"$ref": "#"}, {"type": "null"}]}},
        "required": ["next"],
    },
    "not": {"type": "boolean", "not": {"const": True}},
    "a condition": {
        "type": "object",
        "properties": {"a": {"enum": [1, 2]}, "b": {"type": "string"}},
        "required": ["a"],
        "if": {"properties": {"a": {"const": 1}}},
        "then": {"required": ["b"]},
    },
}


@pytest.mark.parametrize("schema", SCHEMAS.values(), ids=SCHEMAS)
def test_a_value_fits(schema: dict[str, Any]) -> None:
    for number in range(20):
        Draft202012Validator(schema).validate(value_for(schema, stream(0, "test", str(number))))


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "banana"},
        {"type": "integer", "minimum": 5, "maximum": 4},
        {"enum": []},
        {"$ref": "#/nowhere"},
        {"$ref": "https://example.com/schema"},
        {"allOf": [{"type": "string"}, {"const": 5}]},
        {"type": "object", "properties": {"a": {"$ref": "#"}}, "required": ["a"]},
        {"$ref": "#"},
        {"pattern": "("},
        {"type": "string", "minLength": 10**9},
        {"type": "array", "minItems": 10**9},
    ],
)
def test_a_schema_that_nothing_fits_is_a_fault(schema: dict[str, Any]) -> None:
    with pytest.raises(SchemaFault):
        value_for(schema, stream(0, "test", ""))
