"""A night's stages, respiratory events and arousals from a semi-Markov model of sleep cycles."""

from dataclasses import dataclass

import numpy as np

from sacd.simulate.parameters import parameter as p
from sacd.simulate.parameters import span
from sacd.stages import AHI_GROUPS, CLIP_S, N1, N2, N3, REM, STAGES, UNSCORED, W

RESPIRATORY = ("obstructive_apnea", "central_apnea", "hypopnea")


@dataclass(frozen=True)
class Event:
    """A scored event: onset and duration in s since lights out, kind as in events.tsv."""

    onset: float
    duration: float
    kind: str


@dataclass(frozen=True)
class SimulatedNight:
    """The night of one subject.

    `stages` holds the label of every clip, `events` is ordered by time, and `person` is the row of
    participants.tsv.
    """

    stages: np.ndarray
    events: tuple[Event, ...]
    person: dict[str, str | float]

    def respiratory(self) -> list[Event]:
        """The apneas and hypopneas of the night."""
        return [event for event in self.events if event.kind in RESPIRATORY]


def groups(n: int, taken: list[int], rng: np.random.Generator) -> list[int]:
    """AHI groups of `n` more subjects, in random order.

    Together with the groups in `taken` they come as close as possible to the paper's shares.
    """
    share = np.array([p(f"person.{group.lower()}") for group in AHI_GROUPS])
    target = share / share.sum() * (n + len(taken))
    counts = np.bincount(taken, minlength=len(share)).astype(float)
    chosen = []
    for _ in range(n):
        # The group that lacks most.
        chosen.append(int(np.argmax(target - counts)))
        counts[chosen[-1]] += 1
    return [int(group) for group in rng.permutation(chosen)] if chosen else []


def semi_markov(group: int, rng: np.random.Generator) -> SimulatedNight:
    """A night of length `night.hours` of a subject of AHI group 0..3."""
    name = AHI_GROUPS[group].lower()
    # Log-uniform: within a group, small values are more frequent.
    ahi = float(np.exp(rng.uniform(*np.log(span(f"person.{name}")))))
    expected = p("person.weight_mean") + p("person.weight_per_ahi") * ahi
    weight = expected + p("person.weight_sd") * rng.standard_normal()
    sex = "M" if rng.random() < p("person.male_share") else "F"
    age = p("person.age_mean") + p("person.age_sd") * rng.standard_normal()
    person = {
        "sex": sex,
        "age": int(np.clip(age, *span("person.age"))),
        "weight_kg": round(float(np.clip(weight, *span("person.weight"))), 1),
        "ahi": round(ahi, 1),
        "source": "semi-markov",
    }
    stages = _stages(ahi, rng)
    respiratory = _respiratory(stages, person["ahi"], rng)
    return SimulatedNight(stages, with_arousals(stages, respiratory, rng), person)


def _stages(ahi: float, rng: np.random.Generator) -> np.ndarray:
    """Stages (clips,) of a night.

    First come cycles N1 N2 N3 N2 REM. Then breaks of W and N1 are inserted; their rate grows with
    the AHI.
    """
    total = int(p("night.hours") * 3600 / CLIP_S)
    cv, least_n2 = p("night.bout_cv"), int(p("night.n2_least_clips"))

    def clips(minutes: float) -> int:
        return max(0, round(minutes * np.exp(cv * rng.standard_normal()) * 60 / CLIP_S))

    night = [W] * max(1, clips(p("night.latency_min")))
    cycle = 0
    while len(night) < total:
        length = p("night.cycle_min") + p("night.cycle_sd_min") * rng.standard_normal()
        length = max(p("night.cycle_least_min"), length)
        n1 = clips(p("night.n1_min"))
        # N3 shrinks and REM grows from cycle to cycle; N2 fills the rest.
        less_n3 = np.exp(-ahi / p("night.n3_ahi_scale"))
        n3 = clips(p("night.n3_first_min") * p("night.n3_decay") ** cycle * less_n3)
        rem_min = p("night.rem_first_min") + p("night.rem_growth_min") * cycle
        rem = clips(min(rem_min, p("night.rem_max_min")))
        n2 = max(least_n2, round(length * 60 / CLIP_S) - n1 - n3 - rem)
        early = round(n2 * rng.uniform(*span("night.n2_early")))
        night += [N1] * n1 + [N2] * early + [N3] * n3 + [N2] * (n2 - early) + [REM] * rem
        cycle += 1
    stages = np.array(night[:total], dtype=np.int8)

    # In proportion to the weight of the stage that a break would interrupt.
    breaks_per_h = p("night.breaks_per_h") + p("night.breaks_per_ahi") * ahi
    hazard = breaks_per_h * p("night.break_weight") * CLIP_S / 3600
    starts = np.flatnonzero(rng.random(total) < hazard[stages])
    for start in starts:
        wake = rng.geometric(1 / p("night.break_w_clips"))
        light = rng.geometric(1 / p("night.break_n1_clips"))
        stages[start : start + wake] = W
        stages[start + wake : start + wake + light] = N1
    return stages


def _respiratory(stages: np.ndarray, ahi: float, rng: np.random.Generator) -> list[Event]:
    """Respiratory events: AHI x hours of sleep of them, at least `event.gap_s` apart.

    They are more frequent in N1, N2 and REM.
    """
    sleep_h = (stages != W).sum() * CLIP_S / 3600
    count = round(ahi * sleep_h)
    # One event per quantile of the cumulative hazard: their number follows the AHI closely.
    hazard = np.cumsum(p("event.weight")[stages])
    quantiles = (np.arange(count) + rng.random(count)) / max(count, 1) * hazard[-1]
    onsets = (np.searchsorted(hazard, quantiles) + rng.random(count)) * CLIP_S
    events: list[Event] = []
    free, least, shape = 0.0, p("event.min_s"), p("event.gamma_shape")
    for onset in np.sort(onsets):
        onset = max(onset, free)  # after the gap that follows the previous event
        clip = int(onset // CLIP_S)
        if clip >= len(stages) or stages[clip] == W:
            continue
        longer = p("event.rem_longer") if stages[clip] == REM else 1.0
        duration = least + rng.gamma(shape, (p("event.mean_s") * longer - least) / shape)
        apnea = rng.random() < p("event.apnea_share")
        central = rng.random() < p("event.central_share")
        kind = RESPIRATORY[1 if central else 0] if apnea else RESPIRATORY[2]
        events.append(Event(round(float(onset), 1), round(float(duration), 1), kind))
        free = onset + duration + p("event.gap_s")
    return events


def with_arousals(
    stages: np.ndarray,
    respiratory: list[Event],
    rng: np.random.Generator,
    ends: set[float] | None = None,
) -> tuple[Event, ...]:
    """The respiratory events together with arousals, ordered by time.

    Most respiratory events end with an arousal; others are spontaneous.

    Args:
        ends: onsets of the respiratory events that end with an arousal, if that was scored.
    """
    arousals = []
    limit = len(stages) * CLIP_S
    for event in respiratory:
        end = event.onset + event.duration
        stage = stages[min(int(event.onset // CLIP_S), len(stages) - 1)]
        chance = p("event.arousal")[stage]
        aroused = rng.random() < chance if ends is None else event.onset in ends
        if aroused:
            arousals.append(end)
    hazard = p("event.spontaneous_arousal")[stages] * CLIP_S / 3600 * (stages != UNSCORED)
    clips = np.flatnonzero(rng.random(len(stages)) < hazard)
    arousals += list((clips + rng.random(len(clips))) * CLIP_S)
    scored, least = list(respiratory), p("event.arousal_least_s")
    for onset in arousals:
        duration = least + rng.exponential(p("event.arousal_s") - least)
        if onset + duration < limit:
            scored.append(Event(round(float(onset), 1), round(float(duration), 1), "arousal"))
    return tuple(sorted(scored, key=lambda event: (event.onset, event.kind)))


def state(stages: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """State of the body in every second: shares of the five stages, float32 (seconds, 5).

    Each row sums to 1. Stages change within clips (the label is that of the larger part), and part
    of the time sleep lies between two stages. EEG, breathing and movement all follow this state. An
    unscored clip continues the clip before it.
    """
    scored = np.flatnonzero(stages != UNSCORED)
    last_scored = np.searchsorted(scored, np.arange(len(stages)), side="right") - 1
    filled = stages[scored[np.maximum(last_scored, 0)]]
    edges = np.flatnonzero(np.diff(filled)) + 1
    shifts = rng.uniform(-1, 1, len(edges)) * p("night.change_s")
    seconds = np.arange(len(filled) * CLIP_S)
    label = filled[np.r_[0, edges]][np.searchsorted(edges * CLIP_S + shifts, seconds, side="right")]

    # AR(1) process per clip, interpolated: negative values lean towards the lighter stage.
    lean = np.empty(len(filled) + 1)
    ar = p("night.ambiguity_ar")
    lean[0] = rng.standard_normal()
    for i, step in enumerate(rng.standard_normal(len(filled))):
        # The factor of the step keeps the variance at 1.
        lean[i + 1] = ar * lean[i] + np.sqrt(1 - ar**2) * step
    lean = np.interp(seconds / CLIP_S, np.arange(len(lean)), lean)
    share = (np.abs(lean) - p("night.ambiguity_from")) * p("night.ambiguity")
    share = np.clip(share, 0, p("night.ambiguity_most"))
    lighter, deeper = np.array([W, W, N1, N2, N1]), np.array([N1, N2, N3, N3, REM])
    weights = np.zeros((len(seconds), len(STAGES)), np.float32)
    weights[seconds, label] = 1 - share
    weights[seconds, np.where(lean < 0, lighter[label], deeper[label])] += share
    width = int(p("night.smooth_s"))
    kernel = np.ones(width, np.float32) / width
    padded = np.pad(weights, ((width // 2, width // 2), (0, 0)), mode="edge")
    smooth = [np.convolve(padded[:, k], kernel, "valid") for k in range(len(STAGES))]
    return np.stack(smooth, axis=1)
