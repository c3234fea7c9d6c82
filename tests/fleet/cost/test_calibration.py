"""Calibration finds rates that are known: exact probes give them back, noisy ones nearly."""

from __future__ import annotations

from dataclasses import astuple, replace

import numpy as np
import pytest

from swarm.fleet.cost.calibration import (
    DecodeProbe,
    PrefillProbe,
    Rates,
    StallProbe,
    block_of,
    chunks_of,
    entry_alone,
    errors,
    first_tokens,
    least_squares,
    rates_of,
    typical,
    undisturbed,
    unsettled,
)
from swarm.streams import stream

BATCHES = [(1, 96), (1, 32_224), (4, 384), (16, 1_536), (64, 6_144), (8, 33_024)]
GRID = [
    (0, 256),
    (0, 1_024),
    (0, 4_096),
    (0, 16_384),
    (0, 32_768),
    (8_192, 128),
    (16_384, 8_192),
    (30_720, 128),
]
KNOWN = [
    Rates(1 / 50_000, 1e-9, 0.012, 1e-6, 0.008, 2e-4, 2e-7),
    Rates(1 / 4e6, 0.0, 0.01, 0.0, 0.01, 5e-5, 0.0),
    Rates(1 / 8_000, 5e-9, 0.05, 4e-6, 0.02, 0.0, 1e-6),
]


def probes(
    rates: Rates, noise: float, rounds: int
) -> tuple[dict[str, list[PrefillProbe]], dict[str, list[DecodeProbe]]]:
    chance = stream(1, "noise", "calibration")

    def late() -> float:
        return 1 + noise * abs(float(chance.standard_normal()))

    prefills = {
        f"{cached}+{new}": [
            PrefillProbe(cached + new, cached, rates.ttft_s(cached + new, cached) * late())
            for _ in range(rounds)
        ]
        for cached, new in GRID
    }
    decodes = {
        f"{batch}x{context}": [
            DecodeProbe(batch, context, rates.tpot_s(batch, context) * late()) for _ in range(rounds)
        ]
        for batch, context in BATCHES
    }
    return prefills, decodes


@pytest.mark.parametrize("known", KNOWN)
def test_known_rates_come_back(known: Rates) -> None:
    prefills, decodes = probes(known, 0.0, 1)
    found = rates_of(prefills, decodes)
    assert astuple(found)[:-3] == pytest.approx(astuple(known)[:-3], rel=1e-6, abs=1e-13)
    assert max(errors(found, prefills, decodes)) < 1e-9


SHORT = [(0, 16), (0, 1_024), (8_192, 128), (16_384, 16), (30_720, 128)]
"""Beside a reply."""
STALLING = [
    Rates(1 / 50_000, 1e-9, 0.003, 1e-6, 0.008, 2e-4, 2e-7, 0.009, 5e-7, 2_048),
    Rates(1 / 5e5, 2e-9, 0.001, 0.0, 0.001, 6e-5, 0.0, 0.005, 6e-7, None),
    Rates(1 / 50_000, 1e-9, 0.012, 1e-6, 0.008, 2e-4, 2e-7, 0.0, 0.0, 8_192),
    # Under a tenth of any first token, and told all the same.
    Rates(1 / 50_000, 1e-9, 0.05, 8e-6, 0.008, 2e-4, 2e-7, 0.003, 1e-7, None),
    # Of a large model: all steps read its weights, and a chunk's own time is little beside a first token.
    Rates(1 / 10_000, 8e-8, 0.003, 1e-6, 0.010, 1e-4, 3e-7, 0.0015, 0.0, 2_048, 0.0, 0.010),
    Rates(1 / 10_000, 8e-8, 0.003, 1e-6, 0.010, 1e-4, 3e-7, 0.0, 0.0, 2_048, 0.0, 0.006),
]


@pytest.mark.parametrize("known", STALLING)
def test_stalls_tell_what_of_a_first_token_the_others_wait_for(known: Rates) -> None:
    prefills, decodes = probes(known, 0.0, 1)
    stalls = {f"{cached}+{new}": repeated(known, cached, new) for cached, new in SHORT}
    found = rates_of(prefills, decodes, stalls, step_tokens=known.step_tokens)
    assert astuple(found)[:-3] == pytest.approx(astuple(known)[:-3], rel=1e-5, abs=1e-12)
    assert found.prefill_alone_s == pytest.approx(known.prefill_alone_s, abs=1e-9)


@pytest.mark.parametrize("alone_s", [0.0, 0.006])
def test_waits_left_to_chance_are_no_step_of_prompts_alone(alone_s: float) -> None:
    known = replace(STALLING[2], prefill_alone_s=alone_s)
    prefills, decodes = probes(known, 0.0, 1)
    for seed in range(20):
        shares = np.random.default_rng(seed).random((3, 5))
        stalls = {
            f"{cached}+{new}": [beside(known, cached, new, share) for share in swept]
            for (cached, new), swept in zip(SHORT, shares.T, strict=True)
        }
        found = rates_of(prefills, decodes, stalls, step_tokens=known.step_tokens)
        # Half a step's wait, on average: so few of them tell it within a third of a step.
        assert found.prefill_alone_s == pytest.approx(alone_s, abs=0.003 if alone_s else 0.0)


def repeated(rates: Rates, cached: int, new: int) -> list[StallProbe]:
    """Return three repeats that fill a step evenly."""
    return [beside(rates, cached, new, share) for share in (0.1, 0.5, 0.9)]


def beside(rates: Rates, cached: int, new: int, share: float) -> StallProbe:
    """Return what a prompt and a reply make of each other; `share` of a step is left as the prompt comes."""
    stalled_s, lone_s = stall_s(rates, cached, new), rates.ttft_s(cached + new, cached)
    own_s = lone_s - rates.prefill_alone_s + rates.decode_base_s
    return StallProbe(cached + new, cached, stalled_s, lone_s, own_s + share * rates.decode_base_s)


def test_noise_in_stalls_is_no_cost_of_chunks() -> None:
    known = Rates(1 / 50_000, 1e-9, 0.02, 1e-6, 0.008, 2e-4, 2e-7)
    for seed in range(20):
        prefills, decodes = probes(known, 0.0, 1)
        chance = np.random.default_rng(seed)
        stalls = {
            f"{cached}+{new}": [
                replace(one, stall_s=one.stall_s + noise_s)
                for one, noise_s in zip(
                    repeated(known, cached, new), chance.normal(0.0, 0.0005, 3), strict=True
                )
            ]
            for cached, new in GRID[:2] + GRID[5:]
        }
        found = rates_of(prefills, decodes, stalls)
        assert (found.prefill_chunk_s, found.prefill_chunk_per_token_s) == (0.0, 0.0)
        assert found.entry_s == pytest.approx(0.02)


def test_what_a_chunk_takes_is_to_settle_as_well() -> None:
    known = STALLING[0]
    prefills, decodes = probes(known, 0.0, 3)
    chance = np.random.default_rng(1)
    open_errors = []
    for noise_s in (0.0002, 0.002):
        stalls = {
            f"{cached}+{new}": [
                replace(one, stall_s=one.stall_s + late_s)
                for one, late_s in zip(
                    repeated(known, cached, new), chance.normal(0.0, noise_s, 3), strict=True
                )
            ]
            for cached, new in GRID[:2] + GRID[5:]
        }
        open_errors.append(unsettled(prefills, decodes, stalls)["prefill_chunk_s"])
    assert 0.0 < open_errors[0] < open_errors[1]
    assert "prefill_chunk_s" not in unsettled(prefills, decodes)


def stall_s(rates: Rates, cached: int, new: int) -> float:
    count, ends = chunks_of(cached, cached + new, rates.step_tokens)
    added_s = rates.prefill_chunk_s * count + rates.prefill_chunk_per_token_s * ends
    return rates.prefill_s(cached, new) + added_s


@pytest.mark.parametrize(
    ("apart_s", "alone"), [([], 0.0), ([0.002, 0.002, 0.9], 0.5), ([0.0003], 0.0), ([0.0001], 0.0)]
)
def test_the_way_in_is_seen_where_it_is_slower_than_the_steps(apart_s: list[float], alone: float) -> None:
    rates = Rates(1e-5, 0.0, 0.004, 0.0, 0.001, 0.0, 0.0, 0.0002, 0.0)
    assert entry_alone(rates, apart_s, 16) == pytest.approx(alone)


def test_a_prompt_is_cut_where_steps_are_full() -> None:
    assert chunks_of(100, 5_100, 2_048) == (3, 2_148 + 4_196 + 5_100)
    assert chunks_of(100, 2_148, 2_048) == chunks_of(100, 2_148, None) == (1, 2_148)


@pytest.mark.parametrize("known", KNOWN)
def test_noisy_probes_predict_what_was_not_asked(known: Rates) -> None:
    found = rates_of(*probes(known, 0.05, 6))
    for prompt, cached in ((2_000, 0), (20_000, 18_000), (24_000, 0)):
        assert found.ttft_s(prompt, cached) == pytest.approx(known.ttft_s(prompt, cached), rel=0.06)
    assert found.tpot_s(32, 64_000) == pytest.approx(known.tpot_s(32, 64_000), rel=0.06)


def test_a_server_that_follows_the_formula_is_known_by_its_long_prompts() -> None:
    """Noise of a fraction of a millisecond is nothing to them, and the same to short ones."""
    known, worst = KNOWN[0], 0.0
    for seed in range(20):
        chance = np.random.default_rng(seed)
        prefills, decodes = probes(known, 0.0, 1)
        noisy = {
            name: [replace(one, ttft_s=one.ttft_s + chance.exponential(3e-4)) for _ in range(3)]
            for name, (one,) in prefills.items()
        }
        found = rates_of(noisy, decodes)
        for mine, theirs in zip(astuple(found)[:2], astuple(known)[:2], strict=True):
            worst = max(worst, abs(mine / theirs - 1))
    assert worst < 0.01


def test_rates_settle_as_probes_are_repeated() -> None:
    few, many = (max(unsettled(*probes(KNOWN[0], 0.05, rounds)).values()) for rounds in (3, 24))
    assert many < few
    assert unsettled(*probes(KNOWN[0], 0.0, 3)) == pytest.approx(dict.fromkeys(FELT, 0.0), abs=1e-6)


FELT = (
    "entry_s",
    "entry_per_token_s",
    "prefill_token_s",
    "prefill_per_context_token_s",
    "decode_base_s",
    "decode_per_sequence_s",
    "decode_per_context_token_s",
)


def test_a_prompt_takes_as_long_in_one_step_as_in_many() -> None:
    whole = KNOWN[0].prefill_s(1_000, 8_192)
    parts = sum(KNOWN[0].prefill_s(1_000 + start, 1_024) for start in range(0, 8_192, 1_024))
    assert whole == pytest.approx(parts)


def test_what_disturbs_a_probe_is_left_out() -> None:
    assert undisturbed([1.0, 1.2, 9.0, 1.3, 30.0]) == pytest.approx(1.1)


def test_repeats_that_are_apart_themselves_are_taken_in_the_middle() -> None:
    """Three repeats of two questions, apart by half a percent and by ten."""
    alike, apart = (
        {
            f"{tokens}": [PrefillProbe(tokens, 0, tokens / 1e4 * (1 + k * step)) for k in range(3)]
            for tokens in (100, 1_000)
        }
        for step in (0.005, 0.1)
    )
    assert [one.ttft_s for one in first_tokens(alike)] == pytest.approx([0.01, 0.1])
    assert [one.ttft_s for one in first_tokens(apart)] == pytest.approx([0.011, 0.11])


def test_a_repeat_whose_prefix_was_gone_is_another_question() -> None:
    repeats = [PrefillProbe(100, 64, 0.1), PrefillProbe(100, 0, 0.5), PrefillProbe(100, 64, 0.1)]
    assert typical(repeats) == PrefillProbe(100, 64, pytest.approx(0.1))


@pytest.mark.parametrize(
    ("cached", "block"), [([512, 1_200, 2_304], 16), ([0, 0], None), ([448, 1_152], 64), ([], None)]
)
def test_the_block_is_what_all_hits_are_whole_numbers_of(cached: list[int], block: int | None) -> None:
    assert block_of(cached) == block


def test_no_coefficient_is_negative_where_the_best_line_falls() -> None:
    rows = np.array([[1.0, 1.0], [1.0, 2.0], [1.0, 3.0]])
    assert least_squares(rows, np.array([3.0, 2.0, 1.0])) == pytest.approx([66 / 49, 0.0])


def test_repeats_that_missed_as_often_as_they_hit_are_told_apart() -> None:
    """A pool that is too small for all prefixes forgets each one in every other round."""
    hit, miss = PrefillProbe(1_000, 960, 0.1), PrefillProbe(1_000, 0, 0.4)
    assert typical([miss, hit, miss, hit]) == PrefillProbe(1_000, 960, pytest.approx(0.1))
