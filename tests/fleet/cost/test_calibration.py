"""Calibration finds rates that are known: exact probes give them back, noisy ones nearly."""

from __future__ import annotations

import numpy as np
import pytest

from swarm.config.fleet import FleetConfig
from swarm.fleet.cost.calibration import DecodeProbe, PrefillProbe, block_of, calibrate, least_squares
from swarm.streams import stream

BATCHES = [(1, 96), (1, 8_224), (4, 384), (16, 1_536), (8, 33_024)]


@pytest.mark.parametrize("noise", [0.0, 0.01])
@pytest.mark.parametrize(
    ("rate", "entry_s", "base_s", "sequence_s", "context_s"),
    [
        (50_000, 0.012, 0.008, 2e-4, 2e-7),
        (4e6, 0.0, 0.01, 5e-5, 0.0),
        (8_000, 0.05, 0.02, 0.0, 1e-6),
    ],
)
def test_known_rates_come_back(
    rate: float, entry_s: float, base_s: float, sequence_s: float, context_s: float, noise: float
) -> None:
    chance = stream(1, "noise", "calibration")
    prefills = [
        PrefillProbe(size, (entry_s + size / rate) * (1 + noise * chance.standard_normal()))
        for size in (256, 1_024, 4_096, 16_384)
    ]
    decodes = [
        DecodeProbe(
            batch,
            context,
            (base_s + sequence_s * (batch - 1) + context_s * context)
            * (1 + noise * chance.standard_normal()),
        )
        for batch, context in BATCHES
    ]
    found = calibrate(prefills, decodes, [512, 1_184, 2_304])
    within = 1e-6 if noise == 0 else 0.06
    assert found.prefill_tokens_per_s == pytest.approx(rate, rel=within)
    assert found.decode_base_s == pytest.approx(base_s, rel=within)
    assert found.decode_per_sequence_s * 15 == pytest.approx(sequence_s * 15, abs=within * base_s + 1e-12)
    assert found.block_tokens == 32


@pytest.mark.parametrize(
    ("cached", "block"), [([512, 1_200, 2_304], 16), ([0, 0], None), ([448, 1_152], 64), ([], None)]
)
def test_the_block_is_what_all_hits_are_whole_numbers_of(cached: list[int], block: int | None) -> None:
    assert block_of(cached) == block


def test_no_coefficient_is_negative_where_the_best_line_falls() -> None:
    rows = np.array([[1.0, 1.0], [1.0, 2.0], [1.0, 3.0]])
    assert least_squares(rows, np.array([3.0, 2.0, 1.0])) == pytest.approx([66 / 49, 0.0])


def test_a_written_fleet_is_a_fleet() -> None:
    from yaml import safe_load

    from swarm.commands.calibrate import fleet_text

    found = calibrate([PrefillProbe(256, 0.1), PrefillProbe(4_096, 0.2)], [DecodeProbe(1, 96, 0.01)] * 3, [])
    text = fleet_text(found, url="http://127.0.0.1:1", model="any")
    assert FleetConfig.model_validate(safe_load(text)).cost.kind == "simple"
