"""The simulated video: images of poses and breaths, light, and what a movement leaves behind."""

import numpy as np
import pytest

from sacd.simulate.physiology import GROSS, TWITCH, Movements
from sacd.simulate.video import POSE, Poses, Scene


@pytest.fixture
def scene() -> Scene:
    return Scene(64, 48, np.random.default_rng(0))


def test_the_expansion_in_the_breath_is_close_to_the_image(scene: Scene) -> None:
    pose = np.zeros(POSE)
    chest, abdomen = np.array([0.0, 0.7]), np.array([0.0, 0.9])
    images = scene.render(np.repeat(pose[None], 2, 0), chest, abdomen).reshape(2, -1)
    terms = np.stack([np.ones(2), chest, chest**2, abdomen, abdomen**2], 1)
    expanded = terms @ scene.basis(pose)
    np.testing.assert_allclose(expanded[0], images[0], rtol=1e-4)  # at rest it is exact
    change = np.abs(images[1] - images[0])
    assert change.max() > 0.5  # in grey levels: the breath shows
    assert np.abs(expanded[1] - images[1]).max() < 0.2 * change.max()


def test_a_twitch_leaves_the_pose_and_a_turn_changes_it() -> None:
    one = np.ones(1)
    poses = {}
    for kind, turns in ((TWITCH, False), (GROSS, True)):
        moves = Movements(one, one, one, np.array([kind]), np.array([turns]))
        poses[kind] = Poses.draw(moves, np.random.default_rng(0)).rest
    assert poses[TWITCH].shape == (2, POSE)
    assert (poses[TWITCH][0] == poses[TWITCH][1]).all()
    assert (poses[GROSS][0] != poses[GROSS][1]).any()


def test_subjects_have_different_scenes() -> None:
    images = []
    for seed in (1, 2):
        scene = Scene(64, 48, np.random.default_rng(seed))
        images.append(scene.render(np.zeros((1, POSE)), np.zeros(1), np.zeros(1))[0])
    assert images[0].shape == (48, 64) and np.abs(images[0] - images[1]).mean() > 5
