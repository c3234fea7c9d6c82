"""What a server says of itself: its models, its context length, its KV cache; and what one request shows.

Asked: `/v1/models`, `/metrics`, and the pages on which engines state their settings. A door that does not
open is no error: what nobody told is None.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import orjson

from swarm.config.target import TargetConfig
from swarm.context.tree import root
from swarm.errors import RunError
from swarm.live.targets.control import ControlPlane
from swarm.live.targets.exposition import Sample, prefixes, samples
from swarm.live.targets.openai import OpenAITarget
from swarm.live.targets.turn import Turn, TurnResult

Dialect = Literal["swarm", "dynamo", "vllm", "sglang", "trtllm", "llama.cpp", "tgi"]

COUNT_MAX = 2**40
"""A count of tokens beyond it is none."""
MODELS_MAX = 10_000
WORDS_CHARS_MAX = 200
TRIAL_TOKENS = 1_024
"""Of the request that is sent to see what answers tell: some blocks of any server's cache."""
TRIAL_REPLY_TOKENS = 8
PAGES = ("/version", "/props", "/get_server_info", "/info")
"""vLLM's and TensorRT-LLM's; llama.cpp's; SGLang's; TGI's."""
CONTEXT_NAMES = (
    "max_model_len",
    "loaded_context_length",
    "context_length",
    "context_window",
    "max_context_length",
    "max_input_tokens",
    "inputTokenLimit",
)
"""Under which a model states its length: vLLM and SGLang; LM Studio; OpenRouter, Together and others; Groq;
Mistral; Anthropic; Gemini."""
OWNERS: Mapping[str, Dialect] = {
    "swarm": "swarm",
    "vllm": "vllm",
    "sglang": "sglang",
    "llamacpp": "llama.cpp",
    "tensorrt_llm": "trtllm",
}
PREFIXES: Mapping[str, Dialect] = {
    "swarm": "swarm",
    "dynamo": "dynamo",
    "vllm": "vllm",
    "sglang": "sglang",
    "trtllm": "trtllm",
    "llamacpp": "llama.cpp",
    "tgi": "tgi",
}
"""What counters' names begin with; a front end comes before the engines whose counters it passes on."""

_VLLM = "vllm:cache_config_info"
_SGLANG_CONTEXT, _SGLANG_PAGE = "sglang:context_len", "sglang:page_size"
_SGLANG_POOL, _SGLANG_INFO = "sglang:max_total_num_tokens", "sglang:cache_config_info"
_TRTLLM_BLOCKS, _TRTLLM_BLOCK = "trtllm_kv_cache_max_blocks", "trtllm_kv_cache_tokens_per_block"
_DYNAMO_CONTEXT = "dynamo_frontend_model_context_length"
_DYNAMO_BLOCK = "dynamo_frontend_model_kv_cache_block_size"
_DYNAMO_SEQUENCES = "dynamo_frontend_model_max_num_seqs"
_FAMILIES = frozenset(
    {
        _VLLM,
        _SGLANG_CONTEXT,
        _SGLANG_PAGE,
        _SGLANG_POOL,
        _SGLANG_INFO,
        _TRTLLM_BLOCKS,
        _TRTLLM_BLOCK,
        _DYNAMO_CONTEXT,
        _DYNAMO_BLOCK,
        _DYNAMO_SEQUENCES,
    }
)


@dataclass(frozen=True, slots=True)
class ServerFacts:
    """What a target's servers say of themselves; None: nobody told."""

    dialect: Dialect | None = None
    version: str | None = None
    models: tuple[str, ...] | None = None
    """Names that the first server lists; None where it lists none."""
    context_tokens: int | None = None
    """The most tokens of a prompt and its reply together, of the model that is asked."""
    block_tokens: int | None = None
    """Block size of the prefix cache."""
    pool_tokens: int | None = None
    """KV tokens that all engines together can hold."""
    engines: int | None = None
    """Engines that state a pool."""
    max_sequences: int | None = None
    """Requests that one engine runs at once."""
    has_metrics: bool = False
    """Whether `/metrics` of every server answers."""
    closed: tuple[str, ...] = ()
    """Doors that did not open, in the words that they were closed with."""


@dataclass(frozen=True, slots=True)
class ReplyFacts:
    """What a prompt that was sent twice shows; None: it could not be seen."""

    error: str | None = None
    """The server's words, where it refused."""
    streams: bool | None = None
    """Whether the reply came in parts."""
    usage: bool | None = None
    """Whether the stream ends with the prompt's tokens."""
    cached_usage: bool | None = None
    """Whether usage tells cached tokens: a number, also 0, for the second sending."""
    exact_output: bool | None = None
    """Whether as many tokens came as were asked for."""
    ttft_s: float | None = None
    """Of the first sending."""


async def server_facts(config: TargetConfig) -> ServerFacts:
    """Ask a target's servers what they are; takes no request of a model, and raises nothing."""
    async with ControlPlane(config) as control:
        models, metrics, *pages = await asyncio.gather(
            _opened(control.models()),
            _opened(control.metrics()),
            *(_opened(control.page(path)) for path in PAGES),
        )
    listed = None if isinstance(models, str) else models[:MODELS_MAX]
    texts = [] if isinstance(metrics, str) else metrics
    closed = tuple(words for words in (models, metrics) if isinstance(words, str))
    settings = [_object(page[0]) if isinstance(page, list) else {} for page in pages]
    facts = ServerFacts(has_metrics=bool(texts), closed=closed)
    for found in (_of_pages(*settings), _of_metrics(texts), _of_models(listed, config.model)):
        # What stands first is of the engine itself, and counts.
        facts = replace(facts, **{name: value for name, value in found.items() if _is_open(facts, name)})
    return _settled(facts)


async def reply_facts(config: TargetConfig, facts: ServerFacts, *, nonce: str) -> ReplyFacts:
    """Send a prompt of its own twice, and tell what the answers show; `config` has its model named.

    `nonce` keeps it from hitting what an earlier one left in the server's cache.
    """
    context_tokens = facts.context_tokens or 2 * TRIAL_TOKENS
    tokens = max(1, min(TRIAL_TOKENS, context_tokens // 2))
    target = OpenAITarget(config=config, seed=0, run_id=nonce)
    try:
        results = [await target.send(_trial(tokens, k)) for k in range(2)]
    finally:
        await target.close()
    failed = next((result for result in results if result.outcome != "ok"), None)
    if failed is not None:
        return ReplyFacts(error=f"{failed.outcome}: {failed.error}"[:WORDS_CHARS_MAX])
    return _shown(results[0], results[1])


def _trial(tokens: int, k: int) -> Turn:
    return Turn(
        prompt=root("trial").extend(tokens),
        output_tokens=TRIAL_REPLY_TOKENS,
        agent="trial",
        session="trial",
        parent=None,
        request_id=f"trial/{k}",
        keep_reply=False,
    )


def _shown(first: TurnResult, second: TurnResult) -> ReplyFacts:
    has_usage = second.prompt_tokens is not None
    ttft_s = None
    if first.first_token_s is not None and first.sent_s is not None:
        ttft_s = first.first_token_s - first.sent_s
    return ReplyFacts(
        streams=second.output_counted > 1 if second.output_counted else None,
        usage=has_usage,
        cached_usage=second.cached_tokens is not None,
        exact_output=second.output_tokens == TRIAL_REPLY_TOKENS if second.output_tokens else None,
        ttft_s=ttft_s,
    )


async def _opened(question: Any) -> Any:
    """Return a door's answer; where it is closed, the words."""
    try:
        return await question
    except RunError as fault:
        return str(fault)[:WORDS_CHARS_MAX]


def _is_open(facts: ServerFacts, name: str) -> bool:
    return getattr(facts, name) is None


def _object(text: str) -> dict[str, Any]:
    """Return a page's JSON object; of anything else, an empty one."""
    try:
        found = orjson.loads(text)
    except orjson.JSONDecodeError:
        return {}
    return found if isinstance(found, dict) else {}


def _count(value: object) -> int | None:
    """Return a count above 0; None for everything else."""
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 1 <= value <= COUNT_MAX:
        return None
    return int(value)


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and 0 < len(value) <= 64 and value.isprintable() else None


def _known(**facts: Any) -> dict[str, Any]:
    return {name: value for name, value in facts.items() if value is not None}


def _of_pages(
    version: dict[str, Any], props: dict[str, Any], sglang: dict[str, Any], tgi: dict[str, Any]
) -> dict[str, Any]:
    """Return what the engines' own pages state."""
    settings = props.get("default_generation_settings")
    if isinstance(settings, dict):
        return _known(
            dialect="llama.cpp",
            version=_text(props.get("build_info")),
            context_tokens=_count(settings.get("n_ctx")),
            max_sequences=_count(props.get("total_slots")),
        )
    if "max_total_num_tokens" in sglang or "page_size" in sglang:
        ranks = _count(sglang.get("dp_size")) or 1
        pool_tokens = _count(sglang.get("max_total_num_tokens"))
        return _known(
            dialect="sglang",
            version=_text(sglang.get("version")),
            context_tokens=_count(sglang.get("context_length")),
            block_tokens=_count(sglang.get("page_size")),
            pool_tokens=None if pool_tokens is None else pool_tokens * ranks,
            engines=None if pool_tokens is None else ranks,
            max_sequences=_count(sglang.get("max_running_requests")),
        )
    if "max_total_tokens" in tgi:
        return _known(
            dialect="tgi",
            version=_text(tgi.get("version")),
            context_tokens=_count(tgi.get("max_total_tokens")),
            max_sequences=_count(tgi.get("max_concurrent_requests")),
        )
    return _known(version=_text(version.get("version")))


def _of_metrics(texts: Sequence[str]) -> dict[str, Any]:
    """Return what the servers' counters state beside their counts."""
    begin = set[str]().union(*(prefixes(text) for text in texts))
    dialect = next((dialect for prefix, dialect in PREFIXES.items() if prefix in begin), None)
    found: dict[str, Any] = {"dialect": dialect} if dialect else {}
    blocks, pools, lengths, sequences = list[int | None](), list[int | None](), list[int](), list[int]()
    for text in texts:
        if text.lstrip().startswith("["):
            _take_iterations(text, blocks, pools)
            continue
        stated: dict[str, list[Sample]] = {name: [] for name in _FAMILIES}
        for sample in samples(text, _FAMILIES):
            stated[sample.name].append(sample)
        _take_caches(stated, blocks, pools, reserved=0 if dialect == "swarm" else 1)
        lengths += _counts(stated[_SGLANG_CONTEXT] + stated[_DYNAMO_CONTEXT])
        sequences += _counts(stated[_DYNAMO_SEQUENCES])
    if lengths:
        found["context_tokens"] = min(lengths)
    if sequences:
        found["max_sequences"] = min(sequences)
    # Servers that differ, or of which one does not tell, leave it open.
    if blocks and blocks[0] and len(set(blocks)) == 1:
        found["block_tokens"] = blocks[0]
    if pools and all(pools):
        found |= {"pool_tokens": sum(pool or 0 for pool in pools), "engines": len(pools)}
    return found


def _counts(stated: Sequence[Sample]) -> list[int]:
    return [count for sample in stated if (count := _count(sample.value)) is not None]


def _take_caches(
    stated: Mapping[str, Sequence[Sample]],
    blocks: list[int | None],
    pools: list[int | None],
    *,
    reserved: int,
) -> None:
    """Take each engine's block size and the tokens that its pool holds."""
    for _, labels, _ in stated[_VLLM]:
        block = _count(labels.get("block_size"))
        blocks.append(block)
        pools.append(_vllm_pool(labels, block, reserved))
    pages = _counts(stated[_SGLANG_PAGE])
    blocks += pages or [_count(labels.get("page_size")) for _, labels, _ in stated[_SGLANG_INFO]]
    pools += _counts(stated[_SGLANG_POOL])
    trtllm = _counts(stated[_TRTLLM_BLOCK])
    blocks += [*trtllm, *_counts(stated[_DYNAMO_BLOCK])]
    pools += [block * count for block, count in zip(trtllm, _counts(stated[_TRTLLM_BLOCKS]), strict=False)]


def _vllm_pool(labels: Mapping[str, str], block: int | None, reserved: int) -> int | None:
    """Return an engine's usable KV tokens; `reserved` blocks are its own."""
    stated = _count(labels.get("kv_cache_size_tokens"))
    count = _count(labels.get("num_gpu_blocks"))
    if count is None or block is None:
        return stated
    # With several kinds of layers a block of the pool is not a block of tokens: what is stated counts then.
    is_plain = stated is None or abs(stated - count * block) <= block
    return (count - reserved) * block if is_plain else stated


def _take_iterations(text: str, blocks: list[int | None], pools: list[int | None]) -> None:
    """Take what TensorRT-LLM's statistics of iterations, a list in JSON, tell of its KV cache."""
    try:
        rows = orjson.loads(text)
    except orjson.JSONDecodeError:
        return
    last = rows[-1] if rows and isinstance(rows[-1], dict) else {}
    cache = last.get("kvCacheStats")
    if isinstance(cache, dict):
        block, count = _count(cache.get("tokensPerBlock")), _count(cache.get("maxNumBlocks"))
        blocks.append(block)
        pools.append(block * count if block and count else None)


def _of_models(listed: list[dict[str, Any]] | None, model: str | None) -> dict[str, Any]:
    """Return what the list of models says of the one that is asked: the first where none is named."""
    if not listed:
        return {}
    mine = next((entry for entry in listed if entry.get("id") == model), listed[0] if model is None else {})
    sizes = (_count(mine.get(name)) for name in CONTEXT_NAMES)
    meta = mine.get("meta")
    trained = _count(meta.get("n_ctx_train")) if isinstance(meta, dict) else None
    return _known(
        models=tuple(str(entry["id"]) for entry in listed),
        context_tokens=next((size for size in sizes if size), trained),
        block_tokens=_count(mine.get("block_size")),
        dialect=OWNERS.get(str(mine.get("owned_by"))),
    )


def _settled(facts: ServerFacts) -> ServerFacts:
    """Return the facts without a length that the pool cannot hold: such a request is never admitted."""
    if facts.context_tokens is None or facts.pool_tokens is None or not facts.engines:
        return facts
    return replace(facts, context_tokens=min(facts.context_tokens, facts.pool_tokens // facts.engines))
