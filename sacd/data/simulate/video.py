"""Infrared video of one night: a body under a blanket seen from above, its breathing, movements, light and noise."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy.special import expit

from sacd.data.simulate.parameters import parameter as p
from sacd.data.simulate.physiology import GROSS, LIMB, Breathing, Movements

# A pose is a vector: shift along and across the bed, turn, side (-1 left, 0 supine, 1 right), bend of the legs, two leg
# angles, arm, head along and across, two fold phases.
SHIFT, TURN, SIDE, BEND, LEGS, ARM, HEAD, FOLDS = slice(0, 2), 2, 3, 4, slice(5, 7), 7, slice(8, 10), slice(10, 12)
POSE = 12
SPREAD = np.array([0.04, 0.03, 0.05, 0.15, 0.25, 0.12, 0.12, 0.25, 0.04, 0.04, 1.5, 1.5])
"""How far a movement of the whole body leads, per entry of the pose (body lengths of 2, radians)."""


@dataclass(frozen=True)
class Poses:
    """Where the body lies before and after every movement, (movements + 1, POSE), and how it moves between."""

    rest: np.ndarray
    swing: np.ndarray  # (movements, POSE) amplitude of the swinging during the movement
    phase: np.ndarray  # (movements,)

    @classmethod
    def draw(cls, moves: Movements, rng: np.random.Generator) -> "Poses":
        """Movement by movement: the whole body, a limb or the head, or a twitch that leaves nothing changed."""
        pose = SPREAD * rng.standard_normal(POSE)
        pose[SIDE] = _side(rng)
        rest, swing = [pose], []
        for kind, size, turns in zip(moves.kind, moves.size, moves.posture, strict=True):
            part = np.ones(POSE)
            if kind != GROSS:
                part = np.zeros(POSE)
                part[[LEGS, slice(7, 8), HEAD][rng.integers(3)]] = 1
                part[FOLDS] = 0.15 * (kind == LIMB)
            step = part * SPREAD * rng.standard_normal(POSE)
            swing.append(step * size)
            if kind == GROSS:
                pose = 0.6 * pose + step
                pose[SIDE] = _side(rng) if turns else rest[-1][SIDE]
            elif kind == LIMB:
                pose = pose + 0.5 * step
                pose[LEGS.start : HEAD.stop] *= 0.9
            rest.append(pose)
        return cls(np.array(rest), np.array(swing).reshape(-1, POSE), rng.uniform(0, 2 * np.pi, len(swing)))


def _side(rng: np.random.Generator) -> float:
    return 0.0 if rng.random() < p("move.supine") else float(rng.choice([-1.0, 1.0]))


class Scene:
    """One sleeper's bed, blanket, body and camera, drawn once; `render` gives pictures of given poses and breaths."""

    def __init__(self, width: int, height: int, rng: np.random.Generator) -> None:
        u = rng.uniform
        turn, scale = u(-0.12, 0.12) + np.pi * (rng.random() < 0.5), u(0.92, 1.12)
        x, y = np.meshgrid((np.arange(width) + 0.5) / width * 2 - 1, ((np.arange(height) + 0.5) * 2 - height) / width)
        x, y = x - u(-0.08, 0.08), y - u(-0.06, 0.06)
        self.x = (scale * (np.cos(turn) * x + np.sin(turn) * y)).astype(np.float32)
        self.y = (scale * (np.cos(turn) * y - np.sin(turn) * x)).astype(np.float32)
        self.pixel = 2 * scale / width
        self.build = np.array([u(0.30, 0.38), u(0.17, 0.24), u(0.40, 0.55)])  # torso length, half width, height
        self.edge = u(-0.55, -0.38)
        self.waves = np.stack([u(4, 16, 7) * rng.choice([-1, 1], 7), u(4, 16, 7), u(0, 2 * np.pi, 7), u(0.3, 1, 7)])
        self.weave = np.stack([u(8, 30, 3), u(8, 30, 3), u(0, 2 * np.pi, 3), u(0.02, 0.06, 3)])
        self.light, self.tilt, self.power = u(-0.5, 0.5, 2), u(-0.15, 0.15, 2), u(0.85, 1.15)
        self.albedo = {"sheet": u(0.75, 1.0), "blanket": u(0.65, 1.1), "pillow": u(1.0, 1.25), "hair": u(0.35, 0.8)}
        self.bed = u(0.5, 0.62)
        self.folds = p("video.folds")
        self.px = np.array([p("video.chest_px"), p("video.abdomen_px")]) * np.exp(
            p("video.visible_sd") * rng.standard_normal()
        )
        self.out = u(0, 2 * np.pi)

    def render(self, pose: np.ndarray, chest: np.ndarray, abdomen: np.ndarray) -> np.ndarray:
        """Pictures (n, height, width) in grey levels of poses (n, POSE) and breaths (n,)."""
        pose = np.asarray(pose, np.float32)

        def column(index: int) -> np.ndarray:
            return pose[:, index, None, None]

        x0, y0 = self.x[None] - column(0), self.y[None] - column(1)
        x, y = x0 - column(2) * y0, y0 + column(2) * x0
        side = column(SIDE)
        aside = np.abs(side)
        length, half, tall = self.build.astype(np.float32)
        half = half * (1 - 0.25 * aside)

        def lump(cx: object, cy: object, rx: object, ry: object, tilt: object = 0.0) -> np.ndarray:
            dx, dy = x - cx, y - cy
            return np.exp(-((((dx + tilt * dy) / rx) ** 2 + ((dy - tilt * dx) / ry) ** 2) ** 1.5))

        b_chest = lump(-0.28, 0.06 * side, 0.24, half)
        b_abdomen = lump(0.02, 0.08 * side, 0.22, half)
        chest, abdomen = chest[:, None, None].astype(np.float32), abdomen[:, None, None].astype(np.float32)
        # Breathing lifts the blanket and drags its folds; in pixels of a 64-pixel-wide picture, then body units.
        drag = (self.px[0] * chest * b_chest + self.px[1] * abdomen * b_abdomen).astype(np.float32) * (2 / 64)
        rise = 1 + 4 * drag
        bend = column(BEND) * 0.5 + 0.25 * side
        torso = tall * (0.30 + 0.12 * aside) * lump(-0.12, 0.03 * side, length, half) * rise
        legs = 0.0
        for sign, index in ((-1, LEGS.start), (1, LEGS.start + 1)):
            angle = column(index) * 0.6
            legs = legs + 0.10 * lump(
                0.55, sign * 0.09 * (1 - 0.6 * aside) + bend * 0.3, 0.38, 0.085, angle + 0.3 * bend
            )
        arm = 0.07 * lump(-0.12, 0.30 * np.sign(side + 0.1) + 0.1 * column(ARM), 0.22, 0.055, column(ARM))
        hx, hy = -0.72 + column(HEAD.start), column(HEAD.start + 1) + 0.04 * side
        head = lump(hx, hy, 0.11, 0.09)
        face = lump(hx + 0.03 * (1 - aside), hy + 0.05 * side, 0.06, 0.06)

        across, along = y - drag * np.sin(self.out), x - drag * np.cos(self.out)
        folds = 0.0
        for kx, ky, phase, gain in self.waves.T.astype(np.float32):
            folds = folds + gain * np.sin(kx * along + ky * across + phase + column(FOLDS.start))
        covered = expit((x - self.edge + 0.05 * np.sin(6 * y + column(FOLDS.start + 1))) / 0.02)
        pattern = 1.0
        for kx, ky, phase, gain in self.weave.T.astype(np.float32):
            pattern = pattern + gain * np.sin(kx * along + ky * across + phase)
        height = torso + legs + arm + 0.10 * head + covered * self.folds * folds
        slope_y, slope_x = np.gradient(height, self.pixel, axis=(1, 2))
        shade = (1 + slope_x * self.light[0] + slope_y * self.light[1]) / np.sqrt(1 + slope_x**2 + slope_y**2)

        a = self.albedo
        pillow = expit((0.30 - np.maximum(np.abs(self.x + 0.72) * 1.6, np.abs(self.y))) / 0.02)
        bed = expit((self.bed - np.abs(self.y)) / 0.015)
        albedo = 0.35 + bed * (a["sheet"] - 0.35) + pillow * (a["pillow"] - a["sheet"])
        albedo = albedo + covered * (torso + legs + arm + bed > 0.2) * (a["blanket"] * pattern - albedo)
        albedo = albedo + head * (1 - covered) * (a["hair"] + 0.5 * face - albedo)
        lamp = self.power * (1 - 0.25 * (self.x**2 + self.y**2) + self.tilt[0] * self.x + self.tilt[1] * self.y)
        return (p("video.grey") * lamp * albedo * (0.25 + 0.75 * shade)).astype(np.float32)

    def basis(self, pose: np.ndarray) -> np.ndarray:
        """(5, pixels): the picture at rest, its first and second derivative by chest and by abdomen."""
        chest, abdomen = np.array([0, 1, 2, 0, 0.0]), np.array([0, 0, 0, 1, 2.0])
        still, c1, c2, a1, a2 = self.render(np.repeat(pose[None], 5, 0), chest, abdomen).reshape(5, -1)
        return np.stack(
            [
                still,
                *(2 * c1 - 1.5 * still - 0.5 * c2, 0.5 * (still + c2) - c1),
                *(2 * a1 - 1.5 * still - 0.5 * a2, 0.5 * (still + a2) - a1),
            ]
        )


class Light:
    """Slow uneven light: gains on smooth fields that wander, plus a flicker of the whole picture per frame."""

    def __init__(self, scene: Scene, rng: np.random.Generator) -> None:
        x, y = scene.x.ravel(), scene.y.ravel()
        spot = np.exp(-((x - rng.uniform(-0.7, 0.7)) ** 2 + (y - rng.uniform(-0.4, 0.4)) ** 2) / 0.2)
        self.fields = np.stack([np.ones_like(x), x, y, x * y * 2, spot]).astype(np.float32)
        self.rng, self.now = rng, rng.standard_normal((2, len(self.fields)))

    def gains(self, n: int, seconds: float) -> np.ndarray:
        """Gains (n, pixels) of the next `n` frames, `seconds` apart."""
        keep = np.exp(-seconds / p("video.drift_s"))
        curve = np.empty((n, len(self.fields)))
        for i, step in enumerate(self.rng.standard_normal(curve.shape)):
            self.now[0] = keep * self.now[0] + np.sqrt(1 - keep**2) * step
            self.now[1] = keep * self.now[1] + (1 - keep) * self.now[0]  # smooth: light has no jumps
            curve[i] = p("video.drift") * self.now[1]
        curve[:, 0] += 1 + p("video.flicker") * self.rng.standard_normal(n)
        return curve.astype(np.float32) @ self.fields


def frames(
    scene: Scene,
    light: Light,
    poses: Poses,
    moves: Movements,
    breathing: Breathing,
    times: np.ndarray,
    rng: np.random.Generator,
    chunk: int = 64,
) -> Iterator[np.ndarray]:
    """Frames (<= chunk, height, width) uint8 at `times` (s since lights out), in order."""
    shape = scene.x.shape
    chest, abdomen = breathing.at(times)
    at = np.searchsorted(moves.onset, times, side="right") - 1
    inside = (times - moves.onset[at]) / moves.duration[at] if len(moves.onset) else np.ones(len(times))
    moving = (at >= 0) & (inside < 1)
    bases: dict[int, np.ndarray] = {}
    for first in range(0, len(times), chunk):
        part = slice(first, min(first + chunk, len(times)))
        c, a = chest[part].astype(np.float32), abdomen[part].astype(np.float32)
        picture = np.empty((len(c), scene.x.size), np.float32)
        rest = at[part] + 1
        for index in np.unique(rest[~moving[part]]):
            if index not in bases:
                bases = {int(index): scene.basis(poses.rest[index])}
            here = np.flatnonzero((rest == index) & ~moving[part])
            terms = np.stack([np.ones_like(c), c, c * c, a, a * a], 1)[here]
            picture[here] = terms @ bases[int(index)]
        if len(here := np.flatnonzero(moving[part])):
            movement, share = at[part][here], inside[part][here][:, None]
            smooth = share**2 * (3 - 2 * share)
            pose = poses.rest[movement] * (1 - smooth) + poses.rest[movement + 1] * smooth
            swing = np.sin(np.pi * share) * np.sin(2 * np.pi * 2 * share + poses.phase[movement][:, None])
            picture[here] = scene.render(pose + poses.swing[movement] * swing, c[here], a[here]).reshape(len(here), -1)
        picture *= light.gains(len(c), times[1] - times[0])
        noise = rng.standard_normal(picture.shape, dtype=np.float32)
        picture += np.float32(p("video.noise")) * np.sqrt(np.maximum(picture, 4) / np.float32(p("video.grey"))) * noise
        yield np.clip(np.rint(picture), 0, 255).astype(np.uint8).reshape(-1, *shape)
