"""Crops, flips and pixels of a video student against references that work pixel by pixel."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from pydantic import ValidationError

from sacd.config import BackboneConfig
from sacd.experiments.profiles import PROFILES
from sacd.training import pretext
from sacd.training.views import MEAN, SPREAD, View, input_of, random_view, seen

CROP = BackboneConfig(crop=4, crop_area=0.25, flips="horizontal")


def pictures(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(256, shape, generator=generator, dtype=torch.uint8)


def generator(seed):
    return torch.Generator().manual_seed(seed)


def slow_crop(picture, share, down, across, side):
    """One picture `(H, W)`: a square resized by bilinear interpolation, pixel by pixel."""
    h, w = picture.shape
    square = share * min(h, w)
    top, left = down * (h - square), across * (w - square)
    out = np.empty((side, side))
    for i in range(side):
        for j in range(side):
            y = np.clip(top + (i + 0.5) * square / side - 0.5, 0, h - 1)
            x = np.clip(left + (j + 0.5) * square / side - 0.5, 0, w - 1)
            y0, x0 = int(y), int(x)
            y1, x1 = min(y0 + 1, h - 1), min(x0 + 1, w - 1)
            above = picture[y0, x0] * (1 - x + x0) + picture[y0, x1] * (x - x0)
            below = picture[y1, x0] * (1 - x + x0) + picture[y1, x1] * (x - x0)
            out[i, j] = above * (1 - y + y0) + below * (y - y0)
    return out


@pytest.mark.parametrize("size", [(6, 9), (9, 6), (7, 7)])
def test_every_clip_gets_its_own_square_of_the_right_shape_and_place(size):
    x = pictures(3, 1, 2, *size).float()
    crops = torch.tensor([[1.0, 0.0, 1.0], [0.5, 0.3, 0.6], [0.8, 1.0, 0.0]])
    out = seen(x, View(crops=crops), CROP)
    assert out.shape == (3, 1, 2, 4, 4)
    for clip in range(3):
        for frame in range(2):
            wanted = slow_crop(x[clip, 0, frame].numpy(), *crops[clip].tolist(), side=4)
            np.testing.assert_allclose(out[clip, 0, frame].numpy(), wanted, atol=1e-3)


def test_an_evaluation_sees_the_square_in_the_centre():
    x = pictures(1, 1, 2, 4, 10).float()
    assert torch.equal(seen(x, View(), CROP), x[..., 3:7])
    larger = pictures(1, 1, 1, 6, 9).float()
    wanted = slow_crop(larger[0, 0, 0].numpy()[:, 1:7], 1, 0, 0, side=4)
    np.testing.assert_allclose(seen(larger, View(), CROP)[0, 0, 0].numpy(), wanted, atol=1e-3)


def test_half_of_the_clips_are_mirrored_each_by_its_own_draw():
    backbone = BackboneConfig(flips="horizontal")
    x = pictures(200, 1, 2, 3, 4).float()
    view = random_view(backbone, 200, generator(1))
    out = seen(x, view, backbone)
    for clip in range(200):
        wanted = x[clip, ..., [3, 2, 1, 0]] if view.mirrored[clip] else x[clip]
        assert torch.equal(out[clip], wanted)
    assert view.flip == 0 and 80 < int(view.mirrored.sum()) < 120


def test_a_seed_decides_the_view_and_squares_have_the_areas_that_are_asked_for():
    view, again = (random_view(CROP, 1000, generator(2)) for _ in range(2))
    other = random_view(CROP, 1000, generator(3))
    assert torch.equal(view.crops, again.crops) and torch.equal(view.mirrored, again.mirrored)
    assert not torch.equal(view.crops, other.crops)
    area = view.crops[:, 0] ** 2
    assert area.min() >= 0.25 and area.max() <= 1 and abs(area.mean() - 0.625) < 0.03
    assert view.crops[:, 1:].min() >= 0 and view.crops[:, 1:].max() <= 1


def test_without_options_draws_and_bits_are_those_of_before():
    """One of four flips of the whole batch, and one grey mean and spread."""
    frames = pictures(3, 2, 4, 6)
    dims = {0: [], 1: [3], 2: [4], 3: [3, 4]}
    for seed in range(8):
        drawn = int(torch.randint(4, (), generator=generator(seed)))
        used = generator(seed)
        view = random_view(BackboneConfig(), 3, used)
        assert view == View(flip=drawn)
        assert torch.equal(torch.rand(2, generator=used), _after_one_draw(seed))
        old = ((frames.float()[:, None] / 255 - 0.4) / 0.28).flip(dims[drawn])
        assert torch.equal(input_of(frames, view, BackboneConfig()), old)


def _after_one_draw(seed):
    used = generator(seed)
    torch.randint(4, (), generator=used)
    return torch.rand(2, generator=used)


def test_grey_is_given_as_the_colours_of_the_published_weights():
    frames = pictures(2, 3, 4, 4)
    out = input_of(frames, View(), BackboneConfig(input="rgb"))
    assert out.shape == (2, 3, 3, 4, 4)
    for colour in range(3):
        wanted = (frames.double() / 255 - MEAN[colour]) / SPREAD[colour]
        torch.testing.assert_close(out[:, colour].double(), wanted, atol=1e-6, rtol=0)
    assert pretext.make_student(BackboneConfig(input="rgb", width=0.125)).in_channels == 3


def test_the_reader_crops_what_the_store_gives(monkeypatch):
    frames = pictures(5, 2, 6, 8).numpy()
    store = SimpleNamespace(
        clips=pd.DataFrame({"row": range(5)}), gather_video=lambda rows, window: frames[rows["row"]]
    )
    monkeypatch.setattr(pretext, "ClipStore", lambda path: store)
    read = pretext.reader(CROP, {}, {"store": "anywhere"})
    rows, view = np.array([4, 1, 2]), random_view(CROP, 3, generator(0))
    wanted = input_of(torch.from_numpy(frames[rows]), view, CROP)
    assert torch.equal(read(rows, view), wanted) and wanted.shape == (3, 1, 2, 4, 4)


def test_only_the_profile_paper_has_them_and_others_keep_their_settings():
    paper = PROFILES["paper"]
    own = paper.backbone
    assert (own.crop, own.crop_area, own.flips, own.input) == (112, 0.25, "horizontal", "rgb")
    assert paper.store.height == own.crop and paper.store.width * 3 == pytest.approx(448, abs=2)
    for name in ("smoke", "demo"):
        other = PROFILES[name].backbone
        assert (other.crop, other.flips) == (0, "four")
        assert not {"crop", "crop_area", "flips"} & set(other.model_dump())
    again = BackboneConfig(**own.model_dump())
    assert again == own and again.model_dump(mode="json")["crop"] == 112


@pytest.mark.parametrize("option", [{"crop": 8}, {"flips": "horizontal"}])
def test_cached_features_of_frozen_stages_have_no_such_views(option):
    with pytest.raises(ValidationError, match="frozen stages need crop 0 and flips 'four'"):
        BackboneConfig(frozen=2, **option)
