"""The simulated UCF51: its bytes and layout, and what its sound and its video carry."""

import hashlib

import numpy as np
import pandas as pd
import pytest

from sacd.data.ucf51 import Ucf51StoreConfig, find_videos
from sacd.data.ucf51_ingest import ingest, read_frames, read_sound
from sacd.simulate.ucf51 import PITCHES_HZ, SimulatedUcf51, simulate_ucf51

pytestmark = pytest.mark.slow  # encodes videos

SMALL = Ucf51StoreConfig(height=16, width=16, frames=4, stride=2, windows=2, sound_s=0.5)


@pytest.fixture(scope="module")
def simulated(tmp_path_factory):
    base = tmp_path_factory.mktemp("ucf")
    return simulate_ucf51(base / "one", SimulatedUcf51(classes=2, seconds=0.8)), base


def test_simulated_set_is_deterministic_and_has_the_layout_of_ucf101(simulated):
    root, base = simulated
    again = simulate_ucf51(base / "two", SimulatedUcf51(classes=2, seconds=0.8), workers=2)
    digest = [
        {
            p.relative_to(r).as_posix(): hashlib.sha256(p.read_bytes()).hexdigest()
            for p in r.rglob("*.avi")
        }
        for r in (root, again)
    ]
    assert digest[0] == digest[1] and len(set(digest[0].values())) == 50
    table = find_videos(root)
    assert pd.crosstab(table["name"], table["part"]).to_numpy().tolist() == [[7, 18], [7, 18]]
    assert simulate_ucf51(root, SimulatedUcf51(classes=2, seconds=0.8)) == root
    with pytest.raises(ValueError, match="is not this simulated"):
        simulate_ucf51(root, SimulatedUcf51(classes=3))


def test_sound_tells_the_direction_and_the_video_moves(tmp_path):
    root = simulate_ucf51(tmp_path / "sim", SimulatedUcf51(classes=4, seconds=0.8))
    for name, pitch in (
        ("ApplyEyeMakeup", PITCHES_HZ[0]),
        ("BabyCrawling", PITCHES_HZ[1]),
    ):
        path = root / "UCF-101" / name / f"v_{name}_g03_c01.avi"
        power = np.abs(np.fft.rfft(read_sound(path, 0.7).astype(float)))
        assert np.fft.rfftfreq(22_400, 1 / 32_000)[power.argmax()] == pytest.approx(pitch, rel=0.1)
        frames = read_frames(path, SMALL.model_copy(update={"windows": 1, "stride": 3})).astype(int)
        assert np.abs(np.diff(frames, axis=1)).max() > 50


def test_the_missing_track_is_dropped(simulated, tmp_path):
    store = ingest(simulated[0], tmp_path / "store", SMALL)
    assert store.dropped == {"ApplyEyeMakeup_g25_c01": "no sound track"} and len(store.videos) == 49
    assert (
        len(store.frames) == len(store.sound) == 49
        and store.name == "simulated UCF51, 2 of 51 classes"
    )
