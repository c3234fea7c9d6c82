"""Fit what kernels cost on tables of operator measurements, by generation of GPU, format and engine.

    python -m pip download aiconfigurator-core==0.12.0 --no-deps && unzip aiconfigurator_core-*.whl
    python scripts/fit_kernels.py aiconfigurator_core/systems/data [--write]

The tables (Apache-2.0) hold the time of one kernel, or of one attention module, alone and replayed from a
graph. A kernel takes floor + max(bytes / (bandwidth x share), operations / (peak x share)): three constants
of least absolute log error; for experts also the tokens that each chosen one computes in vain, the seconds of
each held one (their counts and offsets), and the widths of an expert's slice that halve the shares. Nothing
of the tables is copied but these constants; no row of a served model is read.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import pandas as pd
import yaml

from swarm.config.catalog import CompressedEntry, MlaEntry
from swarm.errors import ConfigError
from swarm.fleet.catalog.read import FOLDER, find_gpu, find_model
from swarm.fleet.cost.calibration import least_squares
from swarm.fleet.cost.model import copied_weights, projection_weights
from swarm.fleet.cost.terms import module_kind

FORMATS = {
    "bf16": ("bfloat16", "float16"),
    "fp8": ("fp8", "fp8_block"),
    "fp4": ("nvfp4",),
    "mxfp4": ("w4a16_mxfp4", "w4a8_mxfp4_mxfp8"),
    "int4": ("int4_wo",),
}
BYTES = {"bf16": 2.0, "fp8": 1.0, "fp4": 0.5625, "mxfp4": 0.53125, "int4": 0.5625}
ROWS_MAX = 1500
"""Of a group: more move no constant by a percent."""
SPARSE_HEADS = 64
"""That a kernel of sparse attention takes at once; fewer are padded."""
FEW, MANY = 128, 1024
"""Tokens of rows that tell the floor, and of rows that tell the peak's share."""
MANY_EXPERTS = 32
STEP_TOKENS = 16384
"""Tokens of the longest steps."""
RATES, MORE_S, STEPS = (1e9, 1e12), (2e-6, 1e-4), 60
"""Rates and seconds among which those of all-reduces are looked for, and how many of each."""
READ_SHARE = 0.75
"""Of the bandwidth, in reading a module's weights."""
MODULES = (
    ("mla_s", "mla", "mla_generation_module"),
    ("sparse_s", "sparse_attention", "dsa_generation_module"),
    ("shared_index_s", "sparse_attention", "dsa_generation_module"),
    ("compressed_4_s", "sparse_attention", "dsv4_csa_generation_module"),
    ("compressed_128_s", "sparse_attention", "dsv4_hca_generation_module"),
)
SERVED = ["generation", "engine", "format"]
SLICE = ["hidden_size", "inter_size", "topk", "num_experts", "moe_tp_size"]
POOR = 0.5
"""Median log error beyond which a group is left out: a kernel that was not the one meant."""
HEAD = """\
# Fitted by scripts/fit_kernels.py on operator tables of aiconfigurator-core 0.12.0 (Apache-2.0).
# Seconds of one kernel: floor_s + max(bytes / (bandwidth x memory), operations / (peak x compute)), where
# each chosen expert computes pad_tokens more than chose it, and each held one takes expert_s; memory and
# compute are shares at great width, halved where an expert's slice is half_read and half_multiply wide.
"""


def tables(folder: Path, kind: str, name: str) -> Any:
    """Return the rows of one operator, over GPUs and engines, with the GPU's data sheet beside each."""
    found = []
    for path in sorted(folder.glob(f"*/{kind}/*/*/{name}_perf.parquet")):
        gpu_name, _, engine = path.relative_to(folder).parts[:3]
        try:
            gpu = find_gpu(gpu_name)
        except ConfigError:
            continue
        rows = pd.read_parquet(path)
        rows = rows[rows.latency > 0]
        rows = rows.assign(
            gpu=gpu.name,
            generation=gpu.generation,
            engine=engine,
            seconds=rows.latency / 1e3,
            bandwidth=gpu.memory_bytes_per_s.value,
            bf16=gpu.bf16_flops.value,
            fp8=(gpu.fp8_flops or gpu.bf16_flops).value,
            fp4=(gpu.fp4_flops or gpu.bf16_flops).value,
        )
        found.append(rows)
    return pd.concat(found, ignore_index=True)


def format_of(dtype: pd.Series) -> pd.Series:
    """Return the format that a table's type belongs to."""
    return dtype.map({name: key for key, names in FORMATS.items() for name in names})


def peak(rows: Any) -> np.ndarray:
    """Return the peak of each row's format on its GPU; weights alone in 4 bits are multiplied in 16."""
    narrow = (rows.format == "mxfp4") & (rows.generation == "blackwell")
    values: np.ndarray = np.select(
        [rows.format == "fp8", rows.format == "fp4", narrow], [rows.fp8, rows.fp4, rows.fp8], rows.bf16
    )
    return values


def fit(rows: Any) -> tuple[dict[str, float], float]:
    """Return the constants of least absolute log error, and that error's median.

    Few tokens tell the floor and the memory's share, many the peak's; then all of them tell all.
    """
    found = np.log([max(5e-6, float(rows.seconds.quantile(0.02))), 1 / 0.75, 1 / 0.5, 16.0, 1e-8, 32.0, 32.0])
    of_experts = "held" in rows
    few, many = rows[rows.tokens <= FEW], rows[rows.tokens >= MANY]
    found[:2] = descend(few, found, (0, 1))
    found[[2]] = descend(many, found, (2,))
    free = tuple(range(len(found))) if of_experts else (0, 1, 2)
    found[list(free)] = descend(rows, found, free)
    error = np.abs(errors(rows, found))
    floor, slow, hard, pad, each, half_read, half_multiply = np.exp(found)
    shares = {"floor_s": floor, "memory": min(1.0, 1 / slow), "compute": min(1.0, 1 / hard)}
    if of_experts:
        shares |= {
            "pad_tokens": pad,
            "expert_s": each,
            "half_read": half_read,
            "half_multiply": half_multiply,
        }
    else:
        shares["floor_s"] = max(floor, 0.5 * float(rows.seconds.min()))
    return shares, float(np.median(error))


def errors(rows: Any, at: np.ndarray) -> np.ndarray:
    """Return the log errors of what `fit` fits, as logs: shares by their inverses."""
    floor, slow, hard, pad, each, half_read, half_multiply = np.exp(at)
    read, multiply = rows["read"].to_numpy(), rows["multiply"].to_numpy()
    if "held" in rows:
        width = rows["width"].to_numpy()
        multiply = (multiply + pad * rows["pad"].to_numpy()) * (1.0 + half_multiply / width)
        read = read * (1.0 + half_read / width)
        floor = floor + each * rows["held"].to_numpy()
    found: np.ndarray = np.log(floor + np.maximum(read * slow, multiply * hard))
    found -= np.log(rows.seconds.to_numpy())
    return found


def descend(rows: Any, start: np.ndarray, free: tuple[int, ...]) -> np.ndarray:
    """Return the free ones of the constants at least absolute log error, by reweighted Gauss-Newton."""
    some = rows.sample(min(len(rows), ROWS_MAX), random_state=0)
    x, damping = start.copy(), 1.0
    error = errors(some, x)
    directions = np.eye(len(start))[list(free)]
    for _ in range(60):
        jacobian = np.stack([(errors(some, x + 1e-3 * one) - error) / 1e-3 for one in directions], axis=1)
        weight = 1.0 / np.maximum(np.abs(error), 0.05)
        normal = jacobian.T @ (weight[:, None] * jacobian) + 1e-6 * np.eye(len(free))
        step = np.linalg.solve(normal + damping * np.diag(np.diag(normal)), -jacobian.T @ (weight * error))
        tried = x + np.clip(step, -0.5, 0.5) @ directions
        if np.abs(errors(some, tried)).sum() < np.abs(error).sum():
            x, damping = tried, damping / 3
            error = errors(some, x)
        else:
            damping *= 4
    return x[list(free)]


def fitted(rows: Any, name: str) -> dict[str, Any]:
    """Return constants by generation, format and engine; `any` is the median over engines."""
    out: dict[str, Any] = {}
    for (generation, kind), part in rows.groupby(["generation", "format"]):
        engines: dict[str, dict[str, float]] = {}
        for engine, group in part.groupby("engine"):
            if (group.tokens <= FEW).sum() < 40 or (group.tokens >= MANY).sum() < 10:
                continue
            found, error = fit(group)
            kept = error <= POOR
            print(f"{name} {generation} {kind} {engine}: {len(group)} rows, error {error:.2f}", show(found))
            if kept:
                engines[engine] = found
        if engines and "any" not in engines:
            keys = next(iter(engines.values()))
            engines["any"] = {key: median(one[key] for one in engines.values()) for key in keys}
        if engines:
            out.setdefault(generation, {})[kind] = engines
    return out


def gemm(folder: Path) -> dict[str, Any]:
    """Return what dense layers cost."""
    rows = tables(folder, "gemm", "gemm")
    rows = rows[(rows.n.between(256, 65536)) & (rows.k >= 512)]
    # vLLM's block-scaled rows were taken without a graph: a floor of 75 to 300 us.
    rows = rows[~((rows.engine == "vllm") & (rows.gemm_dtype == "fp8_block"))]
    rows = rows.assign(format=format_of(rows.gemm_dtype)).dropna(subset="format")
    weights = rows.n * rows.k * rows.format.map(BYTES)
    rows = rows.assign(read=(weights + 2.0 * rows.m * (rows.n + rows.k)) / rows.bandwidth)
    rows = rows.assign(tokens=rows.m, multiply=2.0 * rows.m * rows.n * rows.k / peak(rows))
    # Engines call the same libraries; some tables hold the quantizing of inputs, which engines fuse.
    best = rows.loc[rows.groupby(["gpu", "generation", "format", "m", "n", "k"]).seconds.idxmin()]
    return fitted(best.assign(engine="any"), "gemm")


def experts(folder: Path) -> dict[str, Any]:
    """Return what layers of experts cost, where tokens choose evenly."""
    rows = tables(folder, "moe", "moe")
    rows = rows[rows.distribution == "balanced"]
    # Slices by tensor parallelism, of models of many experts: the others were timed with what spreads tokens.
    rows = rows[rows.moe_tp_size.le(8) & rows.moe_ep_size.eq(1) & rows.num_experts.ge(MANY_EXPERTS)]
    rows = rows[rows.num_tokens <= STEP_TOKENS]
    rows = rows.assign(format=format_of(rows.moe_dtype)).dropna(subset="format")
    # Checkpoints of experts in 8 bits share a scale by block; one of a tensor is another kernel.
    blocks = rows.groupby(["gpu", "engine", "format"]).moe_dtype.transform(
        lambda one: (one == "fp8_block").any()
    )
    rows = rows[~(blocks & (rows.moe_dtype == "fp8"))]
    # Engines multiply MXFP4 by 8-bit activations where the GPU can, by 16-bit ones elsewhere.
    rows = rows[~((rows.moe_dtype == "w4a16_mxfp4") & (rows.generation == "blackwell"))]
    rows = fastest(rows[~rows.kernel_source.str.contains("nongated")])
    held = rows.num_experts / rows.moe_ep_size
    pairs = rows.num_tokens * rows.topk / rows.moe_ep_size
    whole = rows.num_tokens * rows.topk >= rows.num_experts
    touched = np.where(whole, held, np.minimum(held, np.maximum(1.0, pairs)))
    weights = 3.0 * rows.hidden_size * rows.inter_size / rows.moe_tp_size
    rows = rows.assign(read=touched * weights * rows.format.map(BYTES) / rows.bandwidth)
    each = 2.0 * weights / peak(rows)
    rows = rows.assign(tokens=rows.num_tokens, multiply=pairs * each, pad=touched * each, held=held)
    rows = rows.assign(width=rows.inter_size / rows.moe_tp_size)
    # Faster than the bandwidth: tokens chose fewer experts than evenly (some within a group alone).
    grouped = (rows["read"] / rows.seconds).groupby([rows[name] for name in ("gpu", *SERVED, *SLICE)])
    return fitted(rows[grouped.transform("max") <= 1.0], "experts")


def fastest(rows: Any) -> Any:
    """Return the fastest of an engine's kernels for each size: engines choose so, by rule or by trial.

    Slices that were not measured with the kernel that is mostly the fastest are left out.
    """
    sizes = ["gpu", *SERVED, *SLICE, "num_tokens"]
    several = rows[rows.groupby(sizes).kernel_source.transform("nunique") > 1]
    ratio = several.seconds / several.groupby(sizes).seconds.transform("min")
    medians = ratio.groupby([several[name] for name in (*SERVED, "kernel_source")]).median()
    best = medians.reset_index().sort_values("seconds").drop_duplicates(SERVED)
    named = rows.merge(
        best[[*SERVED, "kernel_source"]].rename(columns={"kernel_source": "best"}), how="left", on=SERVED
    )
    has = (
        (named.kernel_source == named.best)
        .groupby([named[name] for name in ("gpu", *SERVED, *SLICE)])
        .transform("any")
    )
    kept = named[has | named.best.isna()]
    return kept.loc[kept.groupby(sizes).seconds.idxmin()]


def attention(folder: Path) -> dict[str, Any]:
    """Return, by generation and engine, floors of decode attention by kind, and shares of the peak."""
    out: dict[str, Any] = {}

    def put(generation: str, key: str, engine: str, value: float) -> None:
        out.setdefault(generation, {}).setdefault(key, {})[engine] = float(value)

    for keys, floor_s in decode_floors(folder):
        put(*keys, floor_s)
    rows = tables(folder, "attention", "context_attention")
    rows = rows[(rows.window_size == 0) & (rows.step == 0) & (rows.isl >= 4096)]
    done = 2.0 * rows.batch_size * rows.num_heads * rows.head_dim * rows.isl.astype(float) ** 2
    rows = rows.assign(share=done / rows.bf16 / rows.seconds)
    rows = rows[rows.kv_cache_dtype != "fp8"]
    for dim in (64, 128, 256):
        for (generation, engine), part in rows[rows.head_dim == dim].groupby(["generation", "engine"]):
            put(generation, f"prefill_{dim}", engine, part.share.median())
    rows = tables(folder, "mla", "context_mla")
    rows = rows[(rows.isl >= 4096) & (rows.kv_cache_dtype != "fp8")]
    done = rows.batch_size * rows.num_heads * (192 + 128) * rows.isl.astype(float) ** 2
    rows = rows.assign(share=done / rows.bf16 / rows.seconds)
    for (generation, engine), part in rows.groupby(["generation", "engine"]):
        put(generation, "prefill_mla", engine, part.share.median())
    for keys, share in read_shares(folder):
        put(*keys, share)
    for keys, share in sparse_shares(folder):
        put(*keys, share)
    for keys, share in linear_shares(folder):
        put(*keys, share)
    for generation in out:
        for values in out[generation].values():
            values["any"] = median(values.values())
    return out


def read_shares(folder: Path) -> Iterator[tuple[tuple[str, str, str], float]]:
    """Yield the shares of the bandwidth in reading long contexts while decoding, by the cache's format."""
    for key, kind, name in (("kv", "attention", "generation_attention"), ("latent", "mla", "generation_mla")):
        rows = tables(folder, kind, name)
        numbers = rows.batch_size * (rows.step + 1.0)
        if key == "kv":
            rows = rows.assign(numbers=numbers * 2 * rows.num_key_value_heads * rows.head_dim)
            rows = rows[(rows.window_size == 0) & (rows.head_dim == 128)]
        else:
            rows = rows.assign(numbers=numbers * 576)
            rows = rows[rows.num_heads <= 16]
        rows = rows.assign(eight=rows.kv_cache_dtype == "fp8")
        rows = rows.assign(share=rows.numbers * np.where(rows.eight, 1, 2) / rows.bandwidth / rows.seconds)
        # Reads of 100 us at the peak: ten times what no size makes shorter.
        rows = rows[rows.share * rows.seconds > 1e-4]
        for (generation, engine, eight), part in rows.groupby(["generation", "engine", "eight"]):
            if len(part) >= 20:
                share = min(1.0, part.share.median())
                yield (generation, f"{key}_{'fp8' if eight else 'bf16'}", engine), share


def sparse_shares(folder: Path) -> Iterator[tuple[tuple[str, str, str], float]]:
    """Yield the shares of the peaks in a prompt's sparse attention, and in the indexer's pairs.

    A module takes a time for each chosen pair (its projections included: 7 %) and one for each pair at all.
    Its kernels take 64 heads at once, and multiply with the latent vector.
    """
    rows = tables(folder, "sparse_attention", "dsa_context_module")
    rows = rows[(rows.step == 0) & (rows.batch_size == 1) & rows.num_heads.isin((8, 16)) & (rows.isl > 2048)]
    # TensorRT-LLM's kernels for Hopper look at every pair.
    rows = rows[rows.kv_cache_dtype.ne("fp8") & ~((rows.engine == "trtllm") & (rows.generation == "hopper"))]
    rows = rows[[any(one in model for one in ("GLM-5-FP8", "GLM-5", "V3.2")) for model in rows.model]]
    rows = rows[~rows.model.str.contains("5.2")]
    for (generation, engine), part in rows.groupby(["generation", "engine"]):
        if part.isl.nunique() < 3 or generation == "ada":
            continue
        tokens = part.isl.to_numpy(float)
        chosen = 2048 * tokens - 2048**2 / 2
        columns = np.stack([chosen, tokens**2 / 2], axis=1)
        chosen_s, pair_s = least_squares(columns, part.seconds.to_numpy(float))
        if chosen_s:
            share = SPARSE_HEADS * 2 * (576 + 512) / chosen_s / part.bf16.iloc[0]
            yield (generation, "prefill_sparse", engine), share
        if pair_s:
            heads = np.where(part.model.str.contains("GLM"), 32, 64)
            share = float(np.median(2 * heads * 128)) / pair_s / part.fp8.iloc[0]
            yield (generation, "index", engine), min(1.0, share)


def linear_shares(folder: Path) -> Iterator[tuple[tuple[str, str, str], float]]:
    """Yield the share of the peak in linear layers over a prompt, in operations of chunks of 64."""
    for kind, name in (("linear_attention", "gdn"), ("kda", "kda")):
        rows = tables(folder, kind, name)
        rows = rows[(rows.phase == "context") & rows.num_tokens.between(4096, 16384)]
        # vLLM's convolution of KDA was timed with its compilation: half a millisecond whatever the size.
        rows = rows[(rows.num_v_heads.between(8, 24)) & (rows.kernel_source != "causal_conv1d_fn_qkv3")]
        rows = rows.assign(each=rows.seconds / rows.num_tokens / rows.num_v_heads)
        sums = rows.groupby(["generation", "engine", "bf16", "kernel_source"]).each.median()
        for (generation, engine, bf16), part in sums.groupby(level=[0, 1, 2]):
            yield (generation, "prefill_linear", engine), 4 * (128 * 128 + 64 * 256) / part.sum() / bf16


def decode_floors(folder: Path) -> Iterator[tuple[tuple[str, str, str], float]]:
    """Yield the seconds of decode attention that no size makes shorter: of a kernel, or of a whole module."""
    rows = tables(folder, "attention", "generation_attention")
    rows = rows[(rows.window_size == 0) & (rows.batch_size <= 8) & (rows.step <= 1024)]
    for (generation, engine), part in rows.groupby(["generation", "engine"]):
        yield (generation, "gqa_s", engine), part.seconds.median()
    yield from module_floors(folder)
    for key, kind, name in (("linear_s", "linear_attention", "gdn"), ("linear_s", "kda", "kda")):
        rows = tables(folder, kind, name)
        rows = rows[(rows.phase == "generation") & (rows.num_tokens <= 4)]
        sums = rows.groupby(["generation", "engine", "kernel_source"]).seconds.median()
        for (generation, engine), part in sums.groupby(level=[0, 1]):
            yield (generation, key, engine), part.sum()


def module_floors(folder: Path) -> Iterator[tuple[tuple[str, str, str], float]]:
    """Yield the same of attention modules, their projections included, by the format of those.

    Reading a module's weights is not in it. Of several GPUs of a generation, and versions of an engine, the
    fastest counts: the others were timed without a graph.
    """
    for key, kind, name in MODULES:
        rows = tables(folder, kind, name)
        rows = rows[(rows.batch_size <= 8) & (rows.step <= 1024) & rows.num_heads.isin((8, 16))]
        skips = rows.kernel_source.str.contains("skip_indexer")
        rows = rows[skips == (key == "shared_index_s")]
        rows = rows.assign(format=format_of(rows.gemm_type)).dropna(subset="format")
        known = {model: read_bytes(model, key) for model in rows.model.unique()}
        rows = rows.assign(whole=rows.model.map(known)).dropna(subset="whole")
        shares = zip(rows.whole, rows.num_heads, strict=True)
        rows = rows.assign(weights=[copied + each * heads for (copied, each), heads in shares])
        read_s = rows.weights * rows.format.map(BYTES) / (READ_SHARE * rows.bandwidth)
        rows = rows.assign(seconds=rows.seconds - read_s)
        sums = rows.groupby(["generation", "engine", "format", "gpu", "version"]).seconds.median()
        for (generation, engine, stored), part in sums.groupby(level=[0, 1, 2]):
            yield (generation, f"{key[:-2]}_{stored}_s", engine), part.min()


def read_bytes(name: str, key: str) -> tuple[float, float] | None:
    """Return the weights of a module that every GPU holds, and of each head; nothing of an unknown model."""
    try:
        model = find_model(name)
    except ConfigError:
        return None
    layers = [
        one
        for one in model.attention
        if isinstance(one, MlaEntry | CompressedEntry) and module_kind(one) == key
    ]
    if not layers:
        return None
    copied = copied_weights(model.hidden, layers[0])
    return copied, (projection_weights(model.hidden, layers[0]) - copied) / layers[0].heads


def reduces(folder: Path) -> dict[str, Any]:
    """Return all-reduces by generation: seconds of a small one, replayed and launched, and rates by GPUs."""
    out: dict[str, Any] = {}
    rows = tables(folder, "comm", "custom_allreduce")
    eager = rows.kernel_source.str.contains("eager")
    small = rows[rows.message_size <= 65536]
    for generation, part in rows.groupby("generation"):
        mine = small.generation == generation
        graphs = small[mine & ~eager]
        graph_s = {str(engine): float(group.seconds.median()) for engine, group in graphs.groupby("engine")}
        graph_s["any"] = median(graph_s.values())
        launched_s = small[mine & eager].seconds.median()
        large = part[(part.message_size >= 2**24) & ~eager]
        rates = {}
        for gpus, group in large.groupby("num_gpus"):
            if gpus <= 8:
                carried = 2.0 * (gpus - 1) / gpus * group.message_size / group.seconds
                rates[int(gpus)] = float(carried.median())
        once, two_shot_s = goes(
            part[~part.kernel_source.str.contains("eager") & part.num_gpus.le(8)], graph_s, rates
        )
        out[generation] = {
            "reduce_s": graph_s,
            "one_shot_bytes_per_s": once,
            "two_shot_s": two_shot_s,
            "launch_s": max(0.0, float(launched_s - graph_s["any"])),
            "bytes_per_s": rates,
        }
    return out


def goes(rows: Any, small_s: dict[str, float], rates: dict[int, float]) -> tuple[float, float]:
    """Return the rate of an all-reduce in one go, and what one in two goes takes more, of least log error.

    In one go each of n GPUs sends its bytes to n - 1 others; in two 2 (n - 1) / n of them. Engines take the
    faster one.
    """
    rows = rows[rows.message_size.between(2**14, 2**24)]
    size, gpus = rows.message_size.to_numpy(float), rows.num_gpus.to_numpy(float)
    floor_s, rate = rows.engine.map(small_s).to_numpy(), rows.num_gpus.map(rates).to_numpy()
    twice = floor_s + 2 * (gpus - 1) / gpus * size / rate
    wanted = np.log(rows.seconds.to_numpy())
    best = (math.inf, 0.0, 0.0)
    for once in np.geomspace(RATES[0], RATES[1], STEPS):
        whole = floor_s + (gpus - 1) * size / once
        for more_s in np.geomspace(MORE_S[0], MORE_S[1], STEPS):
            error = float(np.abs(np.log(np.minimum(whole, twice + more_s)) - wanted).mean())
            best = min(best, (error, float(once), float(more_s)))
    print(f"exchange: {len(rows)} rows, error {best[0]:.2f}")
    return best[1:]


def show(found: dict[str, float]) -> str:
    """Return constants as text."""
    return " ".join(f"{name} {value:.3g}" for name, value in found.items())


def rounded(value: Any) -> Any:
    """Return a tree of numbers with three digits each."""
    if isinstance(value, dict):
        return {key: rounded(each) for key, each in value.items()}
    return float(f"{value:.3g}")


def main() -> None:
    """Fit, tell, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("tables", type=Path)
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--only", nargs="*", default=list(KINDS), choices=KINDS, help="kinds to fit again")
    options = parser.parse_args()
    found = rounded({name: one(options.tables) for name, one in KINDS.items() if name in options.only})
    if len(found) < len(KINDS):
        found = yaml.safe_load((FOLDER / "kernels.yaml").read_text()) | found
    text = HEAD + yaml.safe_dump(found, sort_keys=False)
    if options.write:
        (FOLDER / "kernels.yaml").write_text(text)
    else:
        print(text)


KINDS = {"gemm": gemm, "experts": experts, "attention": attention, "exchange": reduces}

if __name__ == "__main__":
    main()
