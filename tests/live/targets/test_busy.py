"""How busy servers are, as their own metrics say."""

import pytest

from swarm.config.fleet import FleetConfig
from swarm.context.tree import root
from swarm.fleet.build import build_fleet
from swarm.fleet.events import FleetRequest
from swarm.live.targets.busy import read_busy
from swarm.measure.saturation import event_lateness, of_servers
from swarm.provider.metrics.page import Meter

FLEET = {
    "cost": {"kind": "simple", "prefill_tokens_per_s": 1000, "decode_base_s": 0.1},
    "replicas": [{"count": 2}],
    "tiers": [{"name": "hbm"}, {"name": "dram", "capacity_gib": 1, "write_gib_per_s": 1}],
}
VLLM = """
process_cpu_seconds_total 12.5
vllm:request_queue_time_seconds_sum{engine="0",model_name="m"} 3.0
vllm:request_queue_time_seconds_sum{engine="1",model_name="m"} 1.0
vllm:time_to_first_token_seconds_sum{engine="0",model_name="m"} 8.0
"""


def test_the_emulated_provider_tells_what_its_fleet_did() -> None:
    config = FleetConfig.model_validate(FLEET)
    fleet = build_fleet(config)
    before = read_busy([Meter(fleet, config).text().decode()], 0.0)
    fleet.submit(FleetRequest(1, "s", "s", root("p").extend(4_000), 1, False), 0.0)
    fleet.advance(100.0)
    after = read_busy([Meter(fleet, config).text().decode()], 10.0)
    fronts, prefill, store = of_servers(before, after)
    assert prefill.share == pytest.approx(4.0 / (2 * 10.0), rel=0.05)
    assert fronts.share is not None and store.share is not None and store.share > 0
    assert "dram" in store.told and "server 0" in store.told


def test_an_engine_tells_of_its_queue_over_all_its_schedulers() -> None:
    found = read_busy([VLLM, VLLM], 5.0)
    assert (found.loops_s, found.queued_s, found.first_token_s) == ((12.5, 12.5), 8.0, 16.0)
    assert (found.prefill_s, found.pipes_s) == (None, {})


@pytest.mark.parametrize("text", ["", "nothing of the kind", "process_cpu_seconds_total e-"])
def test_what_a_page_does_not_say_is_not_known(text: str) -> None:
    found = read_busy([VLLM, text], 5.0)
    assert (found.loops_s, found.queued_s) == ((12.5, None), None)


def test_how_late_an_emulator_sent_is_told_of_the_phase_alone() -> None:
    config = FleetConfig.model_validate(FLEET)
    meter = Meter(build_fleet(config), config)
    meter.late(0.3)
    before = read_busy([VLLM, meter.text().decode()], 0.0)
    for seconds in (0.001, 0.001, 0.001, 0.07):
        meter.late(seconds)
    (found,) = event_lateness(before, read_busy([VLLM, meter.text().decode()], 9.0))
    assert (found.server, found.share_over(0.05), found.share_over(0.2)) == (1, 0.25, 0.0)
    assert event_lateness(before, read_busy([VLLM, VLLM], 9.0)) == event_lateness(None, before) == ()
