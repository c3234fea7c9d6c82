"""The course of a calibration: what is asked of a server, in which order, and until when."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from time import monotonic

from swarm.config.target import TargetConfig
from swarm.errors import RunError
from swarm.fleet.cost.calibration import Rates, block_of, entry_alone, errors, rates_of, unsettled
from swarm.live.probing.batches import Batches, raised, step_tokens
from swarm.live.probing.besides import Besides
from swarm.live.probing.decodes import SHORT_TOKENS, Decodes, levels
from swarm.live.probing.lower import Lower, lower_tier
from swarm.live.probing.pool import POOL_TOKENS_MAX, filled
from swarm.live.probing.prefills import PROMPT_TOKENS_MAX, Prefills
from swarm.live.probing.prober import Prober
from swarm.live.targets.facts import ServerFacts
from swarm.live.targets.openai import OpenAITarget

WARM_UPS = 3
UNKNOWN_FIRST = 1_024
"""Where a server does not tell its length: the first prompt tried; it is doubled while it is taken."""
ROOM_TOKENS = 512
"""For a reply, of a server's length."""
MERGED_MAX = 0.5
"""Share of reads with several deltas: from here on it is told."""

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Course:
    """How long a calibration goes on."""

    pause_s: float = 0.5
    """Between probes: agents think meanwhile."""
    rounds_min: int = 3
    rounds_max: int = 10
    settled: float = 0.015
    """Relative standard error of every rate that matters, at which no more is asked."""
    seconds_max: float = 600.0


@dataclass(frozen=True, slots=True)
class Found:
    """What a calibration found; None: not to be seen."""

    rates: Rates
    rounds: int
    unsettled: dict[str, float]
    """Relative standard errors of the rates that matter."""
    ttft_error: float
    """Median over the probes that the rates come from."""
    tpot_error: float
    longest_tokens: int
    block_tokens: int | None
    batches: Batches
    step_tokens: int | None
    pool_tokens: int | None
    pool_sent: int
    """Tokens that a pool was filled with, where nobody states it."""
    lower: Lower
    """What memories below HBM take."""
    late: int
    merged_share: float


async def calibrated(
    config: TargetConfig, facts: ServerFacts, course: Course, *, nonce: str, say: Say
) -> Found:
    """Probe a server whose model and text are known; raises RunError where it does not answer as needed.

    `nonce` is of this calibration alone: nothing that an earlier one left in the server's cache can hit.
    """
    target = OpenAITarget(config=config, seed=1, run_id=nonce)
    prober = Prober(target, pause_s=course.pause_s)
    engines = facts.engines or 1
    try:
        for _ in range(WARM_UPS):
            await prober.send(prober.fresh(64), 2)
        longest_tokens = await _longest(prober, facts)
        context_tokens = facts.context_tokens or longest_tokens
        say(f"prompts of up to {longest_tokens:,} tokens")
        batches = await _batches(prober, facts, context_tokens=context_tokens, engines=engines)
        say(_told(batches))
        prefills = Prefills(prober, longest_tokens, facts.block_tokens)
        await prefills.shorten()
        asked = levels(
            longest_tokens, facts.pool_tokens, (batches.max_sequences or batches.largest) * engines
        )
        decodes = Decodes(prober, asked, context_tokens=context_tokens, engines=engines)
        besides = Besides(prober, prefills, context_tokens=context_tokens, engines=engines)
        rounds, open_errors = await _rounds(prefills, decodes, besides, course, say)
        rates = await _rates(prober, prefills, decodes, besides)
        block_tokens = facts.block_tokens or block_of(prefills.hits)
        pool_tokens, sent = facts.pool_tokens, 0
        if pool_tokens is None and prober.cached_seen:
            say("filling the KV pool: nobody states its size")
            pool_tokens, sent = await filled(
                prober, longest_tokens=longest_tokens, pool_tokens_max=POOL_TOKENS_MAX, block=block_tokens
            )
        say("prompts are put out of HBM, and asked for again")
        lower = await lower_tier(
            prober, rates, longest_tokens=longest_tokens, pool_tokens=pool_tokens, engines=engines
        )
        say(f"below HBM: {lower.told}")
    finally:
        await target.close()
    ttft_error, tpot_error = errors(rates, prefills.held, decodes.known())
    return Found(
        rates=rates,
        rounds=rounds,
        unsettled=open_errors,
        ttft_error=ttft_error,
        tpot_error=tpot_error,
        longest_tokens=longest_tokens,
        block_tokens=block_tokens,
        batches=batches,
        step_tokens=rates.step_tokens,
        pool_tokens=pool_tokens,
        pool_sent=sent,
        lower=lower,
        late=prober.late,
        merged_share=prober.merged / max(1, prober.deltas),
    )


async def _rates(prober: Prober, prefills: Prefills, decodes: Decodes, besides: Besides) -> Rates:
    """Return the rates that fit all probes, once it is known into what chunks long prompts are cut."""
    held, known, stalls = prefills.held, decodes.known(), besides.known()
    rates = rates_of(held, known, stalls)
    steps = await step_tokens(prober, rates, longest_tokens=prefills.longest_tokens)
    rates = rates_of(held, known, stalls, step_tokens=steps)
    return replace(rates, entry_alone=entry_alone(rates, besides.apart_s, SHORT_TOKENS))


async def _longest(prober: Prober, facts: ServerFacts) -> int:
    """Return the longest prompt that is sent: one that the server takes, with room for a reply."""
    if facts.context_tokens is not None:
        room = max(facts.context_tokens // 2, facts.context_tokens - ROOM_TOKENS)
        most = min(PROMPT_TOKENS_MAX, room)
    else:
        tokens, most = UNKNOWN_FIRST, 0
        while tokens <= PROMPT_TOKENS_MAX:
            try:
                await prober.send(prober.fresh(tokens), 2)
            except RunError:
                if not most:
                    raise
                break
            most, tokens = tokens, 2 * tokens
        most = max(most // 2, most - ROOM_TOKENS)
    if facts.pool_tokens is not None:
        # Prefixes are to stay in the cache while others are probed.
        most = min(most, facts.pool_tokens // (facts.engines or 1) // 3)
    return most


async def _batches(prober: Prober, facts: ServerFacts, *, context_tokens: int, engines: int) -> Batches:
    if facts.max_sequences is not None:
        return Batches(facts.max_sequences, 0, None)
    return await raised(prober, context_tokens=context_tokens, pool_tokens=facts.pool_tokens, engines=engines)


async def _rounds(
    prefills: Prefills, decodes: Decodes, besides: Besides, course: Course, say: Say
) -> tuple[int, dict[str, float]]:
    """Ask everything until the rates have settled; return how often, and how far they have."""
    until_s = monotonic() + course.seconds_max
    found: dict[str, float] = {}
    for done in range(1, course.rounds_max + 1):
        await prefills.round()
        await decodes.round()
        await besides.round(decodes.lone_s())
        if done < max(2, course.rounds_min):
            continue
        found = unsettled(prefills.held, decodes.known(), besides.known())
        worst = max(found, key=found.__getitem__, default=None)
        say(f"round {done}: " + ("" if worst is None else f"{worst} within {found[worst]:.1%}"))
        if worst is None or found[worst] <= course.settled or monotonic() > until_s:
            return done, found
    return course.rounds_max, found


def _told(batches: Batches) -> str:
    if batches.max_sequences is not None:
        return f"{batches.max_sequences:,} requests run at once on an engine"
    flat = "" if batches.flat_from is None else f"; pace is flat from {batches.flat_from:,} on"
    return f"batches of up to {batches.largest:,}: none waited{flat}"
