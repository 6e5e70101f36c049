from itertools import pairwise, product

import numpy as np
import pytest
import torch

from sacd.config import NightConfig, SplitConfig
from sacd.training.night_heads import Head, Markov, beside_night, sequences, stage_by, train_head

CONFIG = NightConfig(reads="pixels", split=SplitConfig(), epochs=40, batch=8, lr=1e-2, drop=0.0)


@pytest.mark.parametrize("rung", ["clip", "window", "night"])
@pytest.mark.parametrize("live", [False, True])
def test_a_head_sees_what_its_rung_says(rung, live):
    torch.manual_seed(0)
    head = Head(3, rung, live, 8, 0.0).eval()
    x = torch.randn(1, 30, 3)
    changed = x.clone()
    changed[0, 15] += 1
    moved = (head(x) != head(changed)).any(2)[0].numpy()
    reach = {"clip": (0, 0), "window": (4, 4), "night": (15, 14)}[rung]
    first = 15 if live else 15 - reach[0]  # clips whose stage the changed clip may move
    assert not moved[:first].any() and moved[15]
    assert not moved[15 + reach[1] + 1 :].any()
    if rung == "window":
        assert moved[15 + reach[1]] or live  # the farthest clip that it may move
    if not live and rung != "clip":
        assert moved[:15].any()


@pytest.mark.parametrize("rung", ["clip", "window", "night"])
@pytest.mark.parametrize("live", [False, True])
def test_padding_is_not_read(rung, live):
    torch.manual_seed(0)
    head = Head(3, rung, live, 8, 0.0).eval()
    x = torch.randn(2, 12, 3)
    alone = head(x[1:, :7])
    padded = head(x, torch.tensor([12, 7]))[1:, :7]
    torch.testing.assert_close(padded, alone)


@pytest.mark.slow
def test_context_finds_a_stage_that_no_clip_shows():
    """The clip before says the stage: a head of one clip guesses, the others know."""
    rng = np.random.default_rng(0)
    sequence = np.repeat(np.arange(60), 16)
    shown = rng.integers(0, 2, len(sequence))
    stage = np.where(np.diff(sequence, prepend=-1) != 0, 0, np.roll(shown, 1))
    x = torch.nn.functional.one_hot(torch.from_numpy(shown)).float()
    right = {}
    for rung, live in product(("clip", "window", "night"), (False, True)):
        head = train_head(x, torch.from_numpy(stage), sequence, rung, live, CONFIG)
        p = stage_by(head, x, sequence)
        right[rung, live] = (p.argmax(1).numpy() == stage).mean()
    assert max(right["clip", live] for live in (False, True)) < 0.7
    assert min(right[rung, live] for rung in ("window", "night") for live in (False, True)) > 0.95


def test_training_is_the_same_every_time():
    x, stage = torch.randn(64, 4), torch.arange(64) % 5
    sequence = np.repeat(np.arange(4), 16)
    first, second = (train_head(x, stage, sequence, "night", False, CONFIG) for _ in range(2))
    assert torch.equal(stage_by(first, x, sequence), stage_by(second, x, sequence))


def test_long_nights_are_cut_for_training_only():
    pieces = sequences(np.r_[np.zeros(300), np.ones(10)])
    assert [len(rows) for rows in pieces] == [128, 128, 44, 10]
    assert np.concatenate(pieces).tolist() == list(range(310))


def chain():
    rng = np.random.default_rng(1)
    stage = np.repeat(rng.integers(0, 5, 40), 8)
    p = rng.dirichlet(np.ones(5), len(stage)) + 0.3 * np.eye(5)[stage]
    return Markov(stage, np.zeros(len(stage))), stage, p / p.sum(1, keepdims=True)


def test_viterbi_is_the_best_of_all_paths():
    model, _, p = chain()
    short = p[:5]
    weights = model.weight(short, 1.0)

    def score(path):
        steps = [np.log(model.change[a, b]) for a, b in pairwise(path)]
        own = [np.log(weights[k, stage]) for k, stage in enumerate(path)]
        return np.log(model.prior[path[0]]) + sum(steps) + sum(own)

    best = max(product(range(5), repeat=5), key=score)
    assert model.path(short, 1.0).argmax(1).tolist() == list(best)


def test_smoothing_is_the_sum_over_all_paths():
    model, _, p = chain()
    short, total = p[:4], np.zeros((4, 5))
    weights = model.weight(short, 0.5)
    for path in product(range(5), repeat=4):
        mass = model.prior[path[0]] * weights[range(4), path].prod()
        mass *= np.prod([model.change[a, b] for a, b in pairwise(path)])
        total[range(4), path] += mass
    expected = total / total.sum(1, keepdims=True)
    assert np.allclose(model.smoothed(short, 0.5), expected, atol=1e-9)
    # The last clip has no later one: the filter knows as much.
    assert np.allclose(model.filtered(short, 0.5)[-1], expected[-1], atol=1e-9)


def test_transitions_repair_what_single_clips_get_wrong():
    model, stage, p = chain()
    alone = (p.argmax(1) == stage).mean()
    found = {name: getattr(model, name)(p, 1.0) for name in ("filtered", "smoothed", "path")}
    right = {name: (x.argmax(1) == stage).mean() for name, x in found.items()}
    assert alone < right["filtered"] < right["smoothed"]
    assert right["path"] > alone


def test_the_live_level_of_a_sleeper_looks_at_no_later_clip():
    x = np.arange(12.0).reshape(6, 2)
    subject = np.array(["a", "a", "a", "b", "b", "b"])
    live = beside_night(x, subject, live=True)
    assert live[:, 2].tolist() == [0, 1, 2, 0, 1, 2]
    assert beside_night(x, subject, live=False)[:, 2].tolist() == [-2, 0, 2, -2, 0, 2]
    later = x.copy()
    later[2] += 100
    assert (beside_night(later, subject, live=True)[:2] == live[:2]).all()
