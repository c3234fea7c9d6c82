"""How many run at once, and what a step computes, from the times of tokens alone."""

from __future__ import annotations

import asyncio
from array import array
from itertools import pairwise
from typing import Any

import pytest

from swarm.config.fleet import FleetConfig, SimpleCostConfig
from swarm.context.tree import Prompt, root
from swarm.fleet.build import build_fleet
from swarm.fleet.cost.calibration import Rates
from swarm.fleet.events import FirstToken, FleetRequest, Tokens
from swarm.live.probing.batches import began_together, budget_of, running_of, step_tokens
from swarm.live.probing.decodes import Level, levels, pace
from swarm.live.probing.prefills import cells
from swarm.live.targets.turn import TurnResult

STEP_S = 0.01
RATES = Rates(1 / 40_000, 1e-9, 0.02, 0.0, STEP_S, 0.0, 0.0)


def reply(first_s: float, tokens: int) -> TurnResult:
    times = array("d", [first_s + k * STEP_S for k in range(tokens)])
    return TurnResult(sent_s=0.0, token_times=times, output_tokens=tokens, prompt_tokens=16)


def batch(running: int, waiting: int, tokens: int, began_s: float) -> list[TurnResult]:
    """Return replies of which `running` begin within `began_s`, and the rest as those end."""
    firsts = [began_s * k / running for k in range(running)]
    late = [firsts[k % running] + tokens * STEP_S + STEP_S for k in range(waiting)]
    return [reply(first_s, tokens) for first_s in firsts + late]


@pytest.mark.parametrize(("running", "waiting"), [(24, 8), (96, 32), (256, 256)])
def test_those_that_run_are_counted_where_others_wait(running: int, waiting: int) -> None:
    assert running_of(batch(running, waiting, 128, 0.2)) == running


def test_where_all_begin_together_nobody_is_seen_to_wait() -> None:
    results = batch(64, 0, 128, 0.5)
    assert began_together(results)
    assert running_of(results) is None


def test_prompts_that_are_computed_slowly_are_not_taken_for_waiting() -> None:
    """The first ends before the last begins, but nobody waits for that."""
    assert running_of(batch(64, 0, 32, 2.0)) is None


@pytest.mark.parametrize("budget", [512, 1_536, 2_048, 4_096, 5_000])
@pytest.mark.parametrize("late_s", [0.0, 0.006])
def test_the_steps_of_a_long_prompt_are_its_budget(budget: int, late_s: float) -> None:
    """Also where each step is noticed late; a budget that nobody gives is then only about right."""
    times, now_s, done = [k * STEP_S for k in range(8)], 7 * STEP_S, 0
    prompt_tokens = 16_384
    while done < prompt_tokens:
        tokens = min(budget - 1, prompt_tokens - done)
        now_s += STEP_S + RATES.prefill_s(done, tokens) + late_s
        done += tokens
        times.append(now_s)
    ended_s = now_s
    times += [now_s + k * STEP_S for k in range(1, 8)]
    assert all(later > earlier for earlier, later in pairwise(times))
    within = 0 if budget != 5_000 else 0.01 + late_s * 10
    assert budget_of(times, ended_s, RATES, prompt_tokens) == pytest.approx(budget, rel=within)


def test_prompts_that_take_no_time_show_no_budget() -> None:
    """Late tokens are not taken for steps where no rate says that a prompt would make them so."""
    times = [0.0, 0.01, 0.02, 0.5, 0.51, 0.9, 0.91]
    assert budget_of(times, 0.92, Rates(0.0, 0.0, 0.02, 0.0, STEP_S, 0.0, 0.0), 16_384) is None


def test_a_prompt_that_takes_one_step_shows_no_budget() -> None:
    times = [0.0, 0.01, 0.02, 0.5, 0.51, 0.52]
    assert budget_of(times, 0.5, RATES, 16_384) is None


class Stepping:
    """A prober of a server that computes 2,048 tokens a step; a step of the first long ones is late."""

    def __init__(self, late: int) -> None:
        self._late = late
        self._longs = 0

    def fresh(self, tokens: int) -> Prompt:
        return Prompt(root("fresh"), tokens)

    async def send(self, prompt: Prompt, output_tokens: int) -> TurnResult:
        if prompt.length > 100:
            self._longs += 1
            return TurnResult(sent_s=0.0, first_token_s=self._times()[-9])
        # The long prompt is sent meanwhile.
        await asyncio.sleep(0.2)
        return TurnResult(sent_s=0.0, token_times=array("d", self._times()))

    def _times(self) -> list[float]:
        times, done, late_s = [k * STEP_S for k in range(8)], 0, 0.2 * (self._longs <= self._late)
        while done < 8_000:
            tokens = min(2_047, 8_000 - done)
            times.append(times[-1] + STEP_S + RATES.prefill_s(done, tokens) + late_s * (done == 0))
            done += tokens
        return times + [times[-1] + k * STEP_S for k in range(1, 9)]


@pytest.mark.parametrize("late", [0, 1])
def test_one_late_step_is_not_taken_for_a_budget(late: int) -> None:
    prober: Any = Stepping(late)
    assert asyncio.run(step_tokens(prober, RATES, longest_tokens=8_000)) == 2_048


def test_pace_is_taken_while_all_decode() -> None:
    # The second begins late and the first ends early: outside of it the pace is another.
    one = TurnResult(token_times=array("d", [k * 0.005 for k in range(20)]), output_tokens=60)
    times = [k * 0.005 for k in range(20)] + [0.1 + k * 0.02 for k in range(40)]
    one.token_times = array("d", times)
    found = pace([one, reply(0.1, 200)], Level(2, 16), engines=1)
    assert found is not None
    # Tokens that each had while both decoded: as many steps of the one as the stretch has time for.
    assert found.tpot_s == pytest.approx((39 * 0.02 + 78 * 0.01) / (39 + 78), rel=0.02)
    assert found.batch == 2


def test_tokens_of_a_step_that_are_sent_one_after_another_leave_its_pace() -> None:
    """The stretch begins with the last token of a step and ends with the first of another."""
    batch = [reply(0.1 * k + 0.0005 * (16 - k), 200) for k in range(16)]
    found = pace(batch, Level(16, 16), engines=1)
    assert found is not None
    assert found.tpot_s == pytest.approx(STEP_S, rel=1e-9)


def test_the_pace_of_an_emulated_batch_lies_on_the_line_that_it_was_made_from() -> None:
    cost = SimpleCostConfig(decode_per_sequence_s=2e-4, decode_per_context_token_s=2e-6)
    fleet = build_fleet(FleetConfig(cost=cost))
    times = {number: array("d") for number in range(8)}
    for number in times:
        fleet.submit(FleetRequest(number, "s", "a", root(str(number)).extend(16), 96, False), 0.001 * number)
    while (due_s := fleet.next_event_s(tokens=True)) is not None:
        for event in fleet.advance(due_s, tokens=True):
            if isinstance(event, FirstToken | Tokens):
                times[event.request_id].append(event.at_s)
    found = pace(
        [TurnResult(token_times=each, output_tokens=len(each), prompt_tokens=16) for each in times.values()],
        Level(8, 16),
        engines=1,
    )
    assert found is not None
    line_s = cost.decode_base_s + 7 * 2e-4 + found.context_tokens * 2e-6
    assert found.tpot_s == pytest.approx(line_s, rel=1e-6)


def test_replies_that_are_never_under_way_together_have_no_pace() -> None:
    assert pace([reply(0.0, 20), reply(1.0, 20)], Level(2, 16), engines=1) is None
    assert pace([reply(0.0, 1)], Level(1, 16), engines=1) is None


@pytest.mark.parametrize("longest", [64, 512, 3_584, 65_536])
def test_the_grid_fits_small_servers(longest: int) -> None:
    asked = cells(longest)
    assert all(0 < sum(cell) <= longest for cell in asked)
    assert len({cell.name for cell in asked}) == len(asked)


def test_batches_leave_half_of_the_pool() -> None:
    asked = levels(4_096, 20_000, 64)
    assert asked[0] == Level(1, 16)
    assert all(level.batch * level.prompt_tokens <= 10_000 for level in asked)


@pytest.mark.parametrize(("runs", "batch"), [(8, 8), (32, 32), (256, 32)])
def test_the_widest_batch_of_long_prompts_is_what_runs_at_once(runs: int, batch: int) -> None:
    long = [level.batch for level in levels(3_584, 65_536, runs) if level.prompt_tokens > 16]
    assert max(long) == batch
