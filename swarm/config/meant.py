"""What an unknown key may have meant: one like it, an engine's name for it, another kind's, one elsewhere."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from typing import Any, get_args, get_origin

from swarm.config.strict import Strict

KEY_READ_MAX = 120
"""Characters of a key that are compared."""
PLACES_SHOWN_MAX = 3
VERY_LIKE = 0.8
"""How like keys are, of 1: beyond it one beside it is rather meant than the same one elsewhere, and one
elsewhere is meant at all."""
ELSEWHERE_LETTERS = 3
"""A shorter key is not looked for elsewhere."""
EVERYWHERE = ("kind", "name", "description")
"""What such a key means depends on where it stands: it is not looked for elsewhere either."""
ENGINES_NAMES = {
    "context_length": "max_model_len",
    "max_context_length": "max_model_len",
    "max_seq_len": "max_model_len",
    "max_num_seqs": "max_sequences",
    "max_running_requests": "max_sequences",
    "max_batch_size": "max_sequences",
    "max_num_batched_tokens": "max_batched_tokens",
    "max_num_tokens": "max_batched_tokens",
    "chunked_prefill_size": "max_batched_tokens",
    "block_size": "block_tokens",
    "page_size": "block_tokens",
    "tokens_per_block": "block_tokens",
    "tensor_parallel_size": "tp",
    "tp_size": "tp",
    "pipeline_parallel_size": "pp",
    "pp_size": "pp",
    "data_parallel_size": "dp",
    "dp_size": "dp",
    "ep_size": "ep",
    "gpu_memory_utilization": "memory_fraction",
    "mem_fraction_static": "memory_fraction",
    "free_gpu_memory_fraction": "memory_fraction",
    "kv_cache_dtype": "kv_precision",
    "quantization": "precision",
    "enforce_eager": "eager",
    "num_speculative_tokens": "draft_tokens",
    "hicache_ratio": "capacity_of_hbm",
    "hicache_write_policy": "write",
    "base_url": "urls",
    "endpoint": "urls",
    "api_key": "api_key_env",
    "concurrency": "agents",
}
"""What vLLM, SGLang, TensorRT-LLM and load generators call a thing, and its key here."""


def known_instead(loc: Sequence[int | str], model: type[Strict]) -> str:
    """Return what to write for the unknown key at a place: one key, where it stands, or all there are."""
    key = str(loc[-1])[:KEY_READ_MAX]
    here, others = _models_at(model, loc)
    if kinds := [kind for kind, one in others if key in one.model_fields]:
        return f"it goes with {' or '.join(kinds)}, not with {loc[-2]}"
    known = sorted({name for one in here for name in one.model_fields})
    meant = ENGINES_NAMES.get(key, key)
    if meant in known:
        return f"did you mean '{meant}'?"
    is_told_elsewhere = len(key) >= ELSEWHERE_LETTERS and key not in EVERYWHERE
    places = _places(model) if is_told_elsewhere else {}
    if close := difflib.get_close_matches(key, known, n=1, cutoff=VERY_LIKE):
        return f"did you mean '{close[0]}'?"
    if meant in places:
        return _asked(places[meant])
    if close := difflib.get_close_matches(key, known, n=1):
        return f"did you mean '{close[0]}'?"
    if close := difflib.get_close_matches(key, places, n=1, cutoff=VERY_LIKE):
        return _asked(places[close[0]])
    return f"known here: {', '.join(known)}"


def _asked(places: list[str]) -> str:
    return f"did you mean {' or '.join(places[:PLACES_SHOWN_MAX])}?"


def _models_at(
    model: type[Strict], loc: Sequence[int | str]
) -> tuple[list[type[Strict]], list[tuple[str, type[Strict]]]]:
    """Return what has the last key of a place, and those of other kinds there, as `key: value` tells them.

    Tags of unions are among a place's parts.
    """
    found: list[type[Strict]] = [model]
    others: list[tuple[str, type[Strict]]] = []
    for part in loc[:-1]:
        below = [one.model_fields[part].annotation for one in found if part in one.model_fields]
        if below:
            found, others = [each for one in below for each in _models_in(one)], []
            continue
        tags = [
            name
            for one in found
            for name, field in one.model_fields.items()
            if part in get_args(field.annotation)
        ]
        if tags:
            tagged = [one for one in found if part in get_args(one.model_fields[tags[0]].annotation)]
            others = [
                (f"{tags[0]}: {tag}", one)
                for one in found
                if one not in tagged
                for tag in get_args(one.model_fields[tags[0]].annotation)
            ]
            found = tagged
    return found, others


def _places(model: type[Strict]) -> dict[str, list[str]]:
    """Return where a configuration has each key, the nearest to its top first; each model is entered once."""
    level: list[tuple[str, type[Strict]]] = [("", model)]
    entered = {model}
    places: dict[str, list[str]] = {}
    while level:
        below = []
        for prefix, one in level:
            for name, field in one.model_fields.items():
                of_key = places.setdefault(name, [])
                if f"{prefix}{name}" not in of_key:
                    of_key.append(f"{prefix}{name}")
                item = "[]" if get_origin(field.annotation) in (tuple, list) else ""
                for each in _models_in(field.annotation):
                    if each not in entered:
                        entered.add(each)
                        below.append((f"{prefix}{name}{item}.", each))
        level = below
    return places


def _models_in(annotation: Any) -> list[type[Strict]]:
    if isinstance(annotation, type) and issubclass(annotation, Strict):
        return [annotation]
    return [found for part in get_args(annotation) for found in _models_in(part)]
