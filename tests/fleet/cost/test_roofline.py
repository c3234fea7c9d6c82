"""The roofline: its sums are exact, its limits are those of the hardware, and its catalogue is whole."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from swarm.config.fleet import (
    FleetConfig,
    ParallelismConfig,
    Precision,
    ReplicaGroupConfig,
    RooflineCostConfig,
    SpeculativeConfig,
    TierConfig,
)
from swarm.errors import ConfigError
from swarm.fleet.catalog.read import constants, find_gpu, find_model, gpus, models
from swarm.fleet.cost.base import Chunk
from swarm.fleet.cost.model import weights_of
from swarm.fleet.cost.rank_cost import RankCost, rank_cost
from swarm.fleet.cost.roofline import Roofline
from swarm.fleet.cost.validation import validation_notes
from swarm.fleet.phase import DecodePhase

GPUS = {
    "A10",
    "A100",
    "A100-40GB",
    "H100",
    "H200",
    "H20",
    "H800",
    "L4",
    "L40S",
    "B200",
    "B300",
    "GB200",
    "GB300",
    "MI300X",
}
MODELS = {
    "Llama-3.3-70B",
    "Qwen3-32B",
    "Qwen3-235B-A22B",
    "Qwen3-Coder-480B",
    "DeepSeek-V3",
    "DeepSeek-R1",
    "Kimi-K2",
    "GLM-4.5",
    "MiniMax-M2.5",
    "gpt-oss-120b",
}
SERVED: list[tuple[str, str, int, Precision]] = [
    ("Llama-3.3-70B", "H100", 4, "fp8"),
    ("DeepSeek-V3", "B200", 8, "fp4"),
    ("gpt-oss-120b", "H100", 2, "fp4"),
    ("GLM-5", "B300", 8, "fp8"),
    ("Kimi-K3", "B300", 8, "fp4"),
    ("Qwen3.5-397B-A17B", "B200", 8, "fp8"),
    ("DeepSeek-V4-Pro", "B200", 8, "fp4"),
    ("GLM-5.2", "H200", 8, "fp8"),
    ("Kimi-K2.5", "H200", 8, "int4"),
    ("Qwen3-8B", "L40S", 1, "bf16"),
]


def served(
    model: str = "Llama-3.3-70B", gpu: str = "H100", precision: Precision = "fp8", **spread: int
) -> RankCost:
    config = FleetConfig(
        cost=RooflineCostConfig(model=model, precision=precision),
        replicas=(ReplicaGroupConfig(gpu=gpu, parallelism=ParallelismConfig(**spread)),),
    )
    return rank_cost(config, config.replicas[0])


def config(*, gpu: str = "H100", tp: int = 1, **cost: Any) -> RankCost:
    fleet = FleetConfig(
        cost=RooflineCostConfig(**cost),
        replicas=(ReplicaGroupConfig(gpu=gpu, parallelism=ParallelismConfig(tp=tp)),),
    )
    return rank_cost(fleet, fleet.replicas[0])


@pytest.mark.parametrize(("alias", "name"), [("NVIDIA H20", "H20"), ("NVIDIA A100-SXM4-40GB", "A100-40GB")])
def test_a_gpu_is_found_as_its_vendor_spells_it(alias: str, name: str) -> None:
    assert find_gpu(alias).name == name


def test_what_is_stated_of_kv_is_taken() -> None:
    rank = config(model="Kimi-K3", tp=8, gpu="B300", kv_bytes_per_token=13_955, kv_capacity_tokens=3_249_215)
    assert (rank.kv_bytes_per_token, rank.kv_capacity_tokens) == (13_955, 3_249_215)


def test_an_eager_step_waits_for_its_launches_and_a_long_one_hides_them() -> None:
    shape = {"model": "Qwen3-Coder-30B-A3B", "precision": "bf16", "gpu": "H20"}
    graphs, eager = config(**shape).cost, config(**shape, eager=True).cost
    # 48 layers of 20 kernels, each launched in more than 10 us (vLLM's eager all-reduces in the tables).
    assert eager.step_s([], 1, 1_000) > 48 * 20 * 1e-5 > graphs.step_s([], 1, 1_000)
    long = [Chunk(0, 8_192)]
    assert eager.step_s(long, 0, 0) < 1.05 * graphs.step_s(long, 0, 0)


def test_a_chip_with_cut_matrices_comes_nearer_to_its_peak() -> None:
    pairs = [Chunk(57_344, 8_192)]
    cut, whole = (
        config(model="Qwen3-Coder-30B-A3B", gpu=gpu, precision="bf16").cost for gpu in ("H20", "H100")
    )
    assert 2 < cut.step_s(pairs, 0, 0) / whole.step_s(pairs, 0, 0) < 989 / 148


@pytest.mark.parametrize("accepted", [1.0, 2.5, 4.0])
def test_speculation_divides_a_step_by_what_is_accepted(accepted: float) -> None:
    shape = {"model": "Llama-3.3-70B", "tp": 2}
    draft = SpeculativeConfig(draft_tokens=3, acceptance_length=accepted, draft_layers=0)
    plain, drafted = config(**shape).cost, config(**shape, speculative=draft).cost
    # One sequence's step reads the weights whether it checks one token or four.
    assert drafted.step_s([], 1, 8_000) == pytest.approx(plain.step_s([], 1, 8_000) / accepted, rel=0.02)


def test_speculation_costs_a_batch_that_computes() -> None:
    draft = SpeculativeConfig(draft_tokens=7, acceptance_length=1.0, draft_layers=1)
    plain, drafted = config(tp=8).cost, config(tp=8, speculative=draft).cost
    assert drafted.step_s([], 256, 256_000) > 1.5 * plain.step_s([], 256, 256_000)


def test_sparse_attention_reads_no_further_than_it_chooses() -> None:
    cost = config(model="DeepSeek-V4-Pro", precision="fp4", gpu="B200", tp=8).cost
    near, far = cost.decode_line(1, 500), cost.decode_line(1, 1_000_000)
    assert far.slope_s < 0.3 * near.slope_s
    assert far.until_tokens == math.inf


def test_the_catalogues_hold_what_is_promised() -> None:
    assert {gpu.name for gpu in gpus()} >= GPUS
    for name in MODELS:
        find_model(name)


@pytest.mark.parametrize(("model", "gpu", "tp", "precision"), SERVED)
@pytest.mark.parametrize("batch", [1, 7, 64])
def test_a_line_is_every_step_until_it_ends(
    model: str, gpu: str, tp: int, precision: Precision, batch: int
) -> None:
    cost = served(model, gpu, precision, tp=tp).cost
    for context in (batch, 100 * batch, 3_000 * batch, 90_000 * batch):
        line = cost.decode_line(batch, context)
        steps = 50
        if line.until_tokens < context + batch * steps:
            steps = max(1, math.ceil((line.until_tokens - context) / batch))
        phase = DecodePhase(
            anchor_s=0.0,
            first_s=line.base_s + line.slope_s * context,
            more_s=line.slope_s * batch,
            steps=steps,
        )
        each = sum(cost.step_s([], batch, context + batch * step) for step in range(steps))
        assert phase.at_s(steps) == pytest.approx(each, rel=1e-9)


@pytest.mark.parametrize(("model", "gpu", "tp", "precision"), SERVED)
def test_lines_meet_where_a_window_fills(model: str, gpu: str, tp: int, precision: Precision) -> None:
    cost = served(model, gpu, precision, tp=tp).cost
    line = cost.decode_line(8, 8)
    while line.until_tokens < math.inf:
        after = cost.decode_line(8, int(line.until_tokens))
        before_s = line.base_s + line.slope_s * line.until_tokens
        assert after.base_s + after.slope_s * line.until_tokens == pytest.approx(before_s, rel=1e-12)
        assert after.slope_s < line.slope_s
        line = after


@pytest.mark.parametrize(("model", "gpu", "tp", "precision"), SERVED)
def test_no_step_is_faster_than_the_hardware(model: str, gpu: str, tp: int, precision: Precision) -> None:
    cost, chip = served(model, gpu, precision, tp=tp).cost, find_gpu(gpu)
    peak = max(flops.value for flops in (chip.bf16_flops, chip.fp8_flops, chip.fp4_flops) if flops)
    weights = weights_of(find_model(model))
    operations = 2 * (weights.active - weights.head) * 8_192
    assert cost.step_s([Chunk(0, 8_192)], 0, 0) > operations / (tp * peak)
    read_bytes = 0.5 * (weights.active - weights.head)
    assert cost.step_s([], 1, 0) > read_bytes / (tp * chip.memory_bytes_per_s.value)


def test_chunks_of_a_prompt_take_its_quadratic_part_once() -> None:
    cost = served(tp=8).cost
    whole = cost.prefill_s(0, 65_536)
    parts = sum(cost.prefill_s(start, 8_192) for start in range(0, 65_536, 8_192))
    assert parts == pytest.approx(whole, rel=1e-9)
    assert cost.prefill_s(57_344, 8_192) > 1.5 * cost.prefill_s(0, 8_192)


def test_a_cached_prefix_saves_its_tokens_but_not_their_pairs_with_new_ones() -> None:
    cost = served("MiniMax-M2.7", "H100", tp=8).cost
    whole, hit = cost.prefill_s(0, 131_072), cost.prefill_s(117_965, 13_107)
    assert 0.1 < hit / whole < 0.25


@pytest.mark.parametrize(("gpu", "tp"), [("H100", 4), ("H100", 8), ("H200", 8), ("B200", 4)])
def test_the_published_131k_case_recomputes_five_times_as_long_as_it_hits(gpu: str, tp: int) -> None:
    # sglang_26305_tiers: 5,118 ms against 1,027 ms, 90 % cached, one request at a time; GPU not stated.
    rank = served("MiniMax-M2.7", gpu, tp=tp)

    def ttft_s(start: int) -> float:
        chunks = [Chunk(at, min(8_192, 131_072 - at)) for at in range(start, 131_072, 8_192)]
        entry_s = rank.entry.seconds + rank.entry.token_s * 131_072
        return entry_s + sum(rank.cost.step_s([chunk], 0, 0) for chunk in chunks)

    assert ttft_s(0) / ttft_s(117_964) == pytest.approx(5_117.95 / 1_027.18, rel=0.3)


@pytest.mark.parametrize("tokens", [512, 8_192, 65_536])
def test_loading_beats_recomputing_exactly_where_a_byte_rate_says_so(tokens: int) -> None:
    rank = served(tp=8)
    break_even = rank.kv_bytes_per_token * tokens / rank.cost.prefill_s(0, tokens)
    for rate, loads in ((break_even * 1.01, True), (break_even * 0.99, False)):
        assert (rank.kv_bytes_per_token / rate < rank.cost.prefill_s(0, tokens) / tokens) is loads


def test_experts_read_are_those_that_a_batch_chooses() -> None:
    cost = served("DeepSeek-V3", "B200", tp=8).cost
    steps = [cost.step_s([], batch, 0) for batch in (1, 2, 4, 8, 16, 32, 64, 128, 256)]
    gains = [after - before for before, after in itertools.pairwise(steps)]
    assert all(gain > 0 for gain in gains)
    assert steps[-1] < 10 * steps[0]


def test_kv_room_is_what_weights_leave() -> None:
    room = served("Llama-3.3-70B", "H100", tp=8).kv_capacity_tokens
    assert room > 2 * served("Llama-3.3-70B", "H100", tp=4).kv_capacity_tokens
    # Latent vectors are copied to every GPU: eight of them hold no more than one of them does.
    latent = served("Kimi-K2", "B200", "fp4", tp=8)
    one_gpu = 0.9 * find_gpu("B200").memory_bytes.value
    assert 0.1 * one_gpu < latent.kv_capacity_tokens * latent.kv_bytes_per_token < one_gpu
    with pytest.raises(ConfigError, match="leaves no HBM for KV on 1 x H100"):
        served("Llama-3.3-70B", "H100", "bf16", tp=1)


def test_what_makes_latent_vectors_takes_room_on_every_gpu() -> None:
    model = find_model("DeepSeek-V3")
    four, eight = (served(model.name, "B200", tp=tp) for tp in (4, 8))
    activations = constants().activation_bytes + 4.0 * model.hidden * ReplicaGroupConfig().max_batched_tokens
    left = 0.9 * find_gpu("B200").memory_bytes.value - activations
    weights4, weights8 = (left - each.kv_capacity_tokens * each.kv_bytes_per_token for each in (four, eight))
    # Twice as many GPUs halve what is cut, in 8 bits.
    assert 2 * weights8 - weights4 == pytest.approx(
        weights_of(model).copied, abs=3 * eight.kv_bytes_per_token
    )


def test_stages_work_at_the_same_time_on_a_prompt_but_one_after_another_on_a_token() -> None:
    one, tensors, stages = served(tp=2).cost, served(tp=8).cost, served(tp=2, pp=4).cost
    assert stages.step_s([Chunk(0, 8_192)], 0, 0) < 0.7 * one.step_s([Chunk(0, 8_192)], 0, 0)
    assert tensors.step_s([], 1, 1_000) < 0.7 * stages.step_s([], 1, 1_000)
    assert stages.step_s([], 1, 1_000) > one.step_s([], 1, 1_000)


def test_a_users_own_model_and_gpu_are_files(tmp_path: Path) -> None:
    import yaml

    mine = find_model("Qwen3-32B").model_dump(mode="json") | {"name": "mine", "measured": False}
    chip = find_gpu("H100").model_dump(mode="json") | {"name": "own", "measured": False}
    for name, data in (("model", mine), ("gpu", chip)):
        (tmp_path / f"{name}.yaml").write_text(yaml.safe_dump(data))
    path = str(tmp_path / "model.yaml")
    own = served(path, str(tmp_path / "gpu.yaml"), tp=2).cost
    shipped = served("Qwen3-32B", tp=2).cost
    assert own.decode_line(4, 4_000).at_s(4_000) == shipped.decode_line(4, 4_000).at_s(4_000)
    with pytest.raises(ConfigError, match=r"'GPT-9' is in no catalogue; there are .*Llama"):
        served("GPT-9")


@pytest.mark.parametrize(
    ("model", "gpu", "computed", "words"),
    [
        ("Llama-3.3-70B", "H100", 15_000, []),
        ("Llama-3.3-70B", "H100", 15_001, ["extrapolated: up to 15001 tokens"]),
        (
            "Kimi-K2",
            "MI300X",
            0,
            ["unvalidated: no measurement of Kimi-K2", "unvalidated: no measurement on MI300X"],
        ),
    ],
)
def test_what_was_never_measured_says_so(model: str, gpu: str, computed: int, words: list[str]) -> None:
    config = FleetConfig(
        cost=RooflineCostConfig(model=model),
        replicas=(ReplicaGroupConfig(gpu=gpu),),
        tiers=(TierConfig(name="hbm"),),
    )
    notes = validation_notes(config, computed)
    assert [note.startswith(word) for note, word in zip(notes, words, strict=True)] == [True] * len(words)


def test_measured_says_what_the_rows_hold(shared_data: Path) -> None:
    import pandas as pd

    table = pd.read_csv(shared_data / "gpu_serving_measurements.csv.gz", low_memory=False)
    table = table[table["mode"] == "agg"]
    assert {gpu.name for gpu in gpus() if gpu.measured} <= {find_gpu(name).name for name in table.system}
    measured = {find_model(name).name for name in table.model_path}
    assert {model.name for model in models() if model.measured} == measured
    assert constants().measured_tokens_max == table.isl.max()


def test_a_step_waits_for_the_gpu_whose_whole_experts_are_chosen_most() -> None:
    cost = served("Qwen3-235B-A22B", "H200", "bf16", tp=8, ep=8).cost
    assert isinstance(cost, Roofline)
    even = Roofline(replace(cost._terms, expert_uneven=0.0))
    waited_s = cost.step_s([], 4, 4) - even.step_s([], 4, 4)
    # Of 94 layers: four tokens choose about two more of the fullest GPU's 16 experts than of most.
    read_s = 94 * 3 * 4_096 * 1_536 * 2 / 4.8e12
    assert 1.0 < waited_s / read_s < 4.0
    assert cost.step_s([], 4_096, 4_096) == pytest.approx(even.step_s([], 4_096, 4_096), rel=1e-3)
    assert served("Qwen3-235B-A22B", "H200", "bf16", tp=8).cost.step_s([], 4, 4) < cost.step_s([], 4, 4)


def test_an_all_reduce_takes_the_faster_of_one_shot_and_two_shot() -> None:
    cost = config(model="Llama-3.3-70B", tp=8).cost
    assert isinstance(cost, Roofline)
    terms = cost._terms
    meet = terms.two_shot_s / (terms.one_shot_token_s - terms.two_shot_token_s)
    # Engines change over between 100 kB and 4 MB a GPU.
    assert 1e5 < meet * 2 * 8_192 < 4e6
    slow = Roofline(replace(terms, two_shot_s=1.0))
    assert cost.step_s([], 4, 4) == slow.step_s([], 4, 4)
    assert cost.step_s([], 4_096, 4_096) < slow.step_s([], 4_096, 4_096)


def test_every_gpu_holds_the_projections_that_make_latent_vectors() -> None:
    model = find_model("DeepSeek-V3")
    weights = weights_of(model)
    # q_a and kv_a_with_mqa of 61 layers (config.json): 7168 x 1536 and 7168 x 576.
    assert weights.copied == 61 * 7_168 * (1_536 + 576)
    assert weights_of(find_model("Llama-3.3-70B")).copied == 0
