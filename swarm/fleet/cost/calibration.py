"""From what probes of a server took to the simple cost model that takes as long.

A first token comes after an entry, something for every token of the prompt, the computing of what was not
cached, and its attention over all before it: 1, prompt, new, new x (cached + new / 2). A later one takes a
line over the batch and the tokens that it looks at. Both are least squares, weighed by how far repeats are
apart and by how far the formula misses, with coefficients that cannot be negative.

How late a reply is by a prompt beside it tells what of an entry is in truth part of the step: 1 and prompt
tokens once more, for each chunk that the prompt is computed in. How late the prompt is by the reply tells
what of its own step the reply's step takes anyhow.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Rows = tuple[Floats, Floats, Floats, Floats]
"""Terms of each question, its value, what its error is a share of, and how far repeats are apart."""
T = TypeVar("T")

PREFILL_TOKENS_PER_S_MAX = 1e9
"""Where no length makes a first token later, prefill is faster than these probes can see."""
BLOCK_TOKENS_MAX = 1024
MATTERS = 0.15
"""Share of some probe's time from which on a rate must have settled."""
FELT = 0.1
"""Share of some step's time from which on a chunk's own time is told from none."""
FELT_LEAST, EXPLAINED = 0.02, 0.75
"""A smaller share, down to this one, is where it explains so much of the squares of stalls' errors."""
REWEIGHTED, MISSED_LEAST = 3, 0.0005
"""How often weights are found anew; the least share that a formula is taken to miss by."""
BESIDE = "beside a reply: "
ALIKE = 0.02
"""Share of a first token by which the middle of its repeats is above the lowest where they are alike."""
ENTRY_ALONE_MAX = 100.0


@dataclass(frozen=True, slots=True)
class PrefillProbe:
    """One prompt, alone: how long it was, what of it was cached, and when its first token came."""

    prompt_tokens: int
    cached_tokens: int
    ttft_s: float

    @property
    def new_tokens(self) -> int:
        """What was computed."""
        return self.prompt_tokens - self.cached_tokens


@dataclass(frozen=True, slots=True)
class DecodeProbe:
    """A batch that decoded together: its size, the tokens that it held, and its time per output token."""

    batch: float
    """On one engine."""
    context_tokens: float
    """Over the whole batch."""
    tpot_s: float


@dataclass(frozen=True, slots=True)
class StallProbe:
    """A prompt beside a reply: by how much it made the reply's tokens later."""

    prompt_tokens: int
    cached_tokens: int
    stall_s: float
    lone_s: float
    """The time to the first token of such a prompt alone."""
    ttft_s: float
    """The same beside the reply."""

    @property
    def new_tokens(self) -> int:
        """What was computed."""
        return self.prompt_tokens - self.cached_tokens


Prefills = Mapping[str, Sequence[PrefillProbe]]
"""Repeats by what was asked."""
Decodes = Mapping[str, Sequence[DecodeProbe]]
Stalls = Mapping[str, Sequence[StallProbe]]


@dataclass(frozen=True, slots=True)
class Step:
    """What is known of an engine's steps before first tokens are fitted."""

    base_s: float
    """That of a lone reply, its context left out."""
    alone_s: float
    """What a step of prompts alone takes more."""
    tokens: int | None
    """That it computes at most; None: any prompt is one chunk."""


@dataclass(frozen=True, slots=True)
class Rates:
    """A server's speed."""

    prefill_token_s: float
    prefill_per_context_token_s: float
    entry_s: float
    entry_per_token_s: float
    decode_base_s: float
    decode_per_sequence_s: float
    decode_per_context_token_s: float
    prefill_chunk_s: float = 0.0
    """A part of a prompt takes so much of its step, however short it is."""
    prefill_chunk_per_token_s: float = 0.0
    """And so much for each token of the prompt up to its end."""
    step_tokens: int | None = None
    """What a step computes at most; None: any prompt is one chunk."""
    entry_alone: float = 0.0
    """Times its entry for which a request keeps those behind it waiting."""
    prefill_alone_s: float = 0.0
    """A step that computes prompts and decodes for nobody takes so much more."""

    @property
    def prefill_tokens_per_s(self) -> float:
        """New tokens a second, attention left out."""
        return min(PREFILL_TOKENS_PER_S_MAX, 1.0 / self.prefill_token_s if self.prefill_token_s else math.inf)

    def prefill_s(self, start: int, tokens: int) -> float:
        """Return the seconds of computing tokens behind `start` held ones, what chunks add left out."""
        return tokens * self.prefill_token_s + self.prefill_per_context_token_s * tokens * (
            start + tokens / 2
        )

    def ttft_s(self, prompt_tokens: int, cached_tokens: int) -> float:
        """Return the time to the first token of a lone request."""
        entry_s = self.entry_s + self.entry_per_token_s * prompt_tokens
        count, ends = chunks_of(cached_tokens, prompt_tokens, self.step_tokens)
        entry_s += (
            self.prefill_alone_s + self.prefill_chunk_s
        ) * count + self.prefill_chunk_per_token_s * ends
        return entry_s + self.prefill_s(cached_tokens, prompt_tokens - cached_tokens)

    def tpot_s(self, batch: float, context_tokens: float) -> float:
        """Return the time per output token of a batch that decodes."""
        more_s = self.decode_per_sequence_s * (batch - 1) + self.decode_per_context_token_s * context_tokens
        return self.decode_base_s + more_s


def chunks_of(cached_tokens: int, prompt_tokens: int, step_tokens: int | None) -> tuple[int, int]:
    """Return in how many chunks a prompt is computed, and the sum of the tokens before their ends."""
    new_tokens = prompt_tokens - cached_tokens
    if step_tokens is None or new_tokens <= step_tokens:
        return 1, prompt_tokens
    ends = [*range(cached_tokens + step_tokens, prompt_tokens, step_tokens), prompt_tokens]
    return len(ends), sum(ends)


def rates_of(
    prefills: Prefills, decodes: Decodes, stalls: Stalls | None = None, *, step_tokens: int | None = None
) -> Rates:
    """Return the rates that fit the probes best."""
    base_s, sequence_s, context_s = fitted(*_decode_rows(decodes))
    alone_s = _alone_s(prefills, stalls, base_s, step_tokens) if stalls else 0.0
    step = Step(base_s, alone_s, step_tokens)
    found = _with_stalls(prefills, stalls, step) if stalls else None
    if found is None:
        found = [*fitted(*_prefill_rows(prefills, step)), 0.0, 0.0]
    entry_s, entry_token_s, token_s, pair_s, chunk_s, chunk_token_s = found
    return Rates(
        token_s, pair_s, entry_s, entry_token_s, base_s, sequence_s, context_s, chunk_s, chunk_token_s,
        step_tokens, prefill_alone_s=alone_s,
    )  # fmt: skip


def _alone_s(prefills: Prefills, stalls: Stalls, base_s: float, step_tokens: int | None) -> float:
    """Return what a step of prompts alone takes that is a reply's where one decodes in it.

    Beside a reply a prompt waits for half a step, on average, and is computed in one that decodes as well:
    its first token comes one and a half steps later than alone, less what its own step takes alone. 0 where
    it is no more than what so few waits, were they left to chance, may be off by.
    """
    later_s = [each.ttft_s - each.lone_s for repeats in stalls.values() for each in repeats]
    alone_s = 1.5 * base_s - median(later_s)
    if alone_s < base_s / math.sqrt(len(later_s)):
        return 0.0
    most_s = min(
        one.ttft_s / chunks_of(one.cached_tokens, one.prompt_tokens, step_tokens)[0]
        for one in first_tokens(prefills)
    )
    return min(base_s, most_s, alone_s)


def entry_alone(rates: Rates, apart_s: Sequence[float], prompt_tokens: int) -> float:
    """Return for how many times its entry a request keeps those behind it waiting.

    First tokens of short prompts sent at once come as far apart as the slower of two takes with each: the
    way in, or the steps. Where it is the steps, the way in is not seen, and holds up nobody.
    """
    if not apart_s:
        return 0.0
    each_s = undisturbed(apart_s)
    entry_s = rates.entry_s + rates.entry_per_token_s * prompt_tokens
    step_s = rates.ttft_s(prompt_tokens, 0) - entry_s - rates.prefill_alone_s
    if not entry_s or each_s < step_s * (1 + FELT) or each_s < FELT * entry_s:
        return 0.0
    return min(ENTRY_ALONE_MAX, each_s / entry_s)


def _with_stalls(prefills: Prefills, stalls: Stalls, step: Step) -> list[float] | None:
    """Return entry, its part by token, token, pair, chunk, its part by token: from first tokens and stalls.

    None where chunks add nothing that is felt in a step: first tokens alone then tell the rest better.
    """
    columns, seconds, scale_s, noise_s = _rows_beside(prefills, stalls, step)
    found = fitted(columns, seconds, scale_s, noise_s)
    felt = (columns[:, 4:] @ np.array(found[4:]) / scale_s).max()
    if felt >= FELT:
        return found
    beside = slice(len(prefills), None)
    without = fitted(columns[:, :4], seconds, scale_s, noise_s)
    squares = [
        float(np.square((part @ np.array(rates) - seconds)[beside] / scale_s[beside]).sum())
        for part, rates in ((columns, found), (columns[:, :4], without))
    ]
    return found if felt >= FELT_LEAST and squares[0] <= (1 - EXPLAINED) * squares[1] else None


def _pairs(one: PrefillProbe | StallProbe) -> float:
    """Return how often a new token looks at one before it."""
    return one.new_tokens * (one.cached_tokens + one.new_tokens / 2)


def errors(rates: Rates, prefills: Prefills, decodes: Decodes) -> tuple[float, float]:
    """Return the median relative error of the rates on the probes, of first tokens and of paces."""
    first = [
        rates.ttft_s(each.prompt_tokens, each.cached_tokens) / each.ttft_s - 1
        for each in first_tokens(prefills)
    ]
    later = [
        rates.tpot_s(each.batch, each.context_tokens) / each.tpot_s - 1
        for each in map(typical_pace, decodes.values())
    ]
    return median(map(abs, first)), median(map(abs, later))


def unsettled(prefills: Prefills, decodes: Decodes, stalls: Stalls | None = None) -> dict[str, float]:
    """Return the relative standard error of each rate that matters, by leaving out one repeat at a time."""
    first = ("entry_s", "entry_per_token_s", "prefill_token_s", "prefill_per_context_token_s")
    later = ("decode_base_s", "decode_per_sequence_s", "decode_per_context_token_s")
    found = _jackknife(later, decodes, _decode_rows)
    stalls = {name: repeats for name, repeats in (stalls or {}).items() if len(repeats) > 1}
    base_s = fitted(*_decode_rows(decodes))[0]
    step = Step(base_s, _alone_s(prefills, stalls, base_s, None) if stalls else 0.0, None)
    if not stalls or _with_stalls(prefills, stalls, step) is None:
        return _jackknife(first, prefills, lambda held: _prefill_rows(held, step)) | found

    def rows_of(held: Mapping[str, Sequence[Any]]) -> Rows:
        asked = {name: held[name] for name in prefills}
        return _rows_beside(asked, {name: held[BESIDE + name] for name in stalls}, step)

    chunk = ("prefill_chunk_s", "prefill_chunk_per_token_s")
    beside = {BESIDE + name: repeats for name, repeats in stalls.items()}
    return _jackknife((*first, *chunk), {**prefills, **beside}, rows_of) | found


def first_tokens(prefills: Prefills) -> list[PrefillProbe]:
    """Return each question's answer from its repeats.

    Where they are alike it is this process that sets them apart, and it only adds: the lowest third counts. A
    server that is itself faster and slower is met in all of its moments: the middle one does.
    """
    middles = [typical(repeats) for repeats in prefills.values()]
    lowest = [typical(repeats, undisturbed) for repeats in prefills.values()]
    apart = median(1 - low.ttft_s / middle.ttft_s for low, middle in zip(lowest, middles, strict=True))
    return lowest if apart <= ALIKE else middles


def typical(repeats: Sequence[PrefillProbe], of: Callable[[Iterable[float]], float] = median) -> PrefillProbe:
    """Return one question's answer from its repeats: `of` what they took."""
    # A repeat whose prefix was evicted asked another question: of two as frequent the longer hit counts.
    counts = Counter(each.cached_tokens for each in repeats)
    cached_tokens = max(counts, key=lambda tokens: (counts[tokens], tokens))
    alike = [each for each in repeats if each.cached_tokens == cached_tokens]
    first = alike[0]
    return PrefillProbe(first.prompt_tokens, first.cached_tokens, of(each.ttft_s for each in alike))


def typical_stall(repeats: Sequence[StallProbe]) -> StallProbe:
    """Return one question's answer from its repeats.

    The one in the middle: what disturbs a reply before or behind the prompt makes its stall seem shorter.
    """
    counts = Counter(each.cached_tokens for each in repeats)
    cached_tokens = max(counts, key=lambda tokens: (counts[tokens], tokens))
    alike = [each for each in repeats if each.cached_tokens == cached_tokens]
    return StallProbe(
        alike[0].prompt_tokens,
        cached_tokens,
        median(each.stall_s for each in alike),
        median(each.lone_s for each in alike),
        median(each.ttft_s for each in alike),
    )


def typical_pace(repeats: Sequence[DecodeProbe]) -> DecodeProbe:
    """Return one batch's answer from its repeats."""
    return DecodeProbe(
        median(each.batch for each in repeats),
        median(each.context_tokens for each in repeats),
        median(each.tpot_s for each in repeats),
    )


def undisturbed(seconds: Iterable[float]) -> float:
    """Return the mean of the lowest third: what disturbs an idle server, or this process, only adds."""
    ordered = sorted(seconds)
    lowest = ordered[: (len(ordered) + 2) // 3]
    return sum(lowest) / len(lowest)


def block_of(cached_tokens: Sequence[int]) -> int | None:
    """Return the largest block that all hits are whole numbers of; None where none was seen."""
    hits = [tokens for tokens in cached_tokens if tokens > 0]
    if not hits:
        return None
    block = math.gcd(*hits)
    while block > BLOCK_TOKENS_MAX and block % 2 == 0:
        block //= 2
    return block


def least_squares(rows: Floats, values: Floats, scales: Floats | None = None) -> list[float]:
    """Return coefficients >= 0 of least relative squares; those that would be negative are left out.

    Errors are relative to `scales`; None: to the values. With six columns at most, every choice of them is
    tried: the best without a negative one is exact.
    """
    weights = 1.0 / np.maximum(values if scales is None else scales, 1e-9)
    count = rows.shape[1]
    best, least = [0.0] * count, math.inf
    scale = np.maximum(np.abs(rows * weights[:, None]).max(axis=0), 1e-300)
    for chosen in range(1, 2**count):
        columns = [at for at in range(count) if chosen >> at & 1]
        part = rows[:, columns] * weights[:, None] / scale[columns]
        found, *_ = np.linalg.lstsq(part, values * weights, rcond=None)
        if (found < 0).any():
            continue
        error = float(np.square(part @ found - values * weights).sum())
        if error < least * (1 - 1e-9):
            least = error
            best = [0.0] * count
            for at, value in zip(columns, found / scale[columns], strict=True):
                best[at] = float(value)
    return best


def fitted(rows: Floats, values: Floats, scales: Floats, jitters_s: Floats) -> list[float]:
    """Return coefficients of least squares, errors relative to what each value is uncertain by.

    That is how far repeats are apart, which is the same for a long prompt as for a short one, and a share of
    `scales`: the one by which the formula itself misses, beyond that. So a server that follows the formula is
    known by its long prompts, and one that does not by all of them alike.
    """
    found = least_squares(rows, values, scales)
    for _ in range(REWEIGHTED):
        squares = np.maximum(0.0, np.square(rows @ np.array(found) - values) - np.square(jitters_s))
        missed = max(MISSED_LEAST, float(np.sqrt((squares / np.square(scales)).mean())))
        found = least_squares(rows, values, np.sqrt(np.square(jitters_s) + np.square(missed * scales)))
    return found


def jitter_s(
    held: Iterable[Sequence[T]], typical_of: Callable[[Sequence[T]], T], of: Callable[[T], float]
) -> float:
    """Return how far from its typical value the middle repeat of a question is, for the middle question."""
    each = ((of(typical_of(repeats)), list(map(of, repeats))) for repeats in held)
    return median(median(abs(value - usual) for value in values) for usual, values in each)


def _ttft_s(one: PrefillProbe) -> float:
    return one.ttft_s


def _stall_s(one: StallProbe) -> float:
    return one.stall_s


def _tpot_s(one: DecodeProbe) -> float:
    return one.tpot_s


def _prefill_rows(prefills: Prefills, step: Step) -> Rows:
    """Return what lone first tokens tell where chunks add nothing: entry, its part by token, token, pair."""
    rows, values, scales, jitters_s = _rows_beside(prefills, {}, step)
    return rows[:, :4], values, scales, jitters_s


def _decode_rows(decodes: Decodes) -> Rows:
    each = [typical_pace(repeats) for repeats in decodes.values()]
    rows = [[1.0, one.batch - 1.0, one.context_tokens] for one in each]
    values = np.array([one.tpot_s for one in each])
    return (
        np.array(rows),
        values,
        values,
        np.full(len(each), jitter_s(decodes.values(), typical_pace, _tpot_s)),
    )


def _rows_beside(prefills: Prefills, stalls: Stalls, step: Step) -> Rows:
    """Return what first tokens and stalls tell; a stall's error is a share of the step that it lengthened."""
    rows, values, scales = [], [], []
    jitters_s = [jitter_s(prefills.values(), typical, _ttft_s)] * len(prefills)
    if stalls:
        jitters_s += [jitter_s(stalls.values(), typical_stall, _stall_s)] * len(stalls)
    for one in first_tokens(prefills):
        count, ends = chunks_of(one.cached_tokens, one.prompt_tokens, step.tokens)
        rows.append([1.0, one.prompt_tokens, one.new_tokens, _pairs(one), count, ends])
        values.append(one.ttft_s - step.alone_s * count)
        scales.append(one.ttft_s)
    for each in map(typical_stall, stalls.values()):
        count, ends = chunks_of(each.cached_tokens, each.prompt_tokens, step.tokens)
        rows.append([0.0, 0.0, each.new_tokens, _pairs(each), count, ends])
        values.append(each.stall_s)
        scales.append(step.base_s + each.stall_s)
    return np.array(rows), np.array(values), np.array(scales), np.array(jitters_s)


def _jackknife(
    names: Sequence[str], held: Mapping[str, Sequence[Any]], rows_of: Callable[..., Rows]
) -> dict[str, float]:
    """Return each coefficient's relative standard error, of those that make up a part of some probe."""
    rows, values, *uncertain = rows_of(held)
    whole = np.array(fitted(rows, values, *uncertain))
    # Of a stall that is hardly one, everything would be a part.
    shares = (rows * whole / np.maximum(values, FELT * uncertain[0])[:, None]).max(axis=0)
    rounds = min(len(repeats) for repeats in held.values())
    if rounds < 2:
        return dict.fromkeys(names, 1.0)
    left = []
    for out in range(rounds):
        rest = {name: [*repeats[:out], *repeats[out + 1 :]] for name, repeats in held.items()}
        left.append(fitted(*rows_of(rest)))
    spread = np.array(left) - np.mean(left, axis=0)
    errors_s = np.sqrt((rounds - 1) / rounds * np.square(spread).sum(axis=0))
    return {
        name: float(error_s / value) if value else 0.0
        for name, value, error_s, share in zip(names, whole, errors_s, shares, strict=True)
        if share >= MATTERS
    }
