"""Infrared video of one night: a body under a blanket seen from above, its breathing, movements, light and noise."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy.special import expit

from sacd.simulate.parameters import parameter as p
from sacd.simulate.parameters import span
from sacd.simulate.physiology import GROSS, LIMB, Breathing, Movements

# A pose is a vector: shift along and across the bed, turn, side (-1 left, 0 supine, 1 right), bend
# of the legs, two leg angles, arm, head along and across, two fold phases.
SHIFT, TURN, SIDE, BEND, LEGS, ARM, HEAD, FOLDS = (
    slice(0, 2),
    2,
    3,
    4,
    slice(5, 7),
    7,
    slice(8, 10),
    slice(10, 12),
)
POSE = 12


@dataclass(frozen=True)
class Poses:
    """Where the body lies before and after every movement, (movements + 1, POSE), and how it moves between."""

    rest: np.ndarray
    swing: np.ndarray  # (movements, POSE) amplitude of the swinging during the movement
    phase: np.ndarray  # (movements,)

    @classmethod
    def draw(cls, moves: Movements, rng: np.random.Generator) -> "Poses":
        """Movement by movement: the whole body, a limb or the head, or a twitch that leaves nothing changed."""
        spread, parts = _spread(), (LEGS, slice(ARM, ARM + 1), HEAD)
        memory, limb_memory = p("pose.memory"), p("pose.limb_memory")
        limb_step, limb_folds = p("pose.limb_step"), p("pose.limb_folds")
        pose = spread * rng.standard_normal(POSE)
        pose[SIDE] = _side(rng)
        rest, swing = [pose], []
        for kind, size, turns in zip(moves.kind, moves.size, moves.posture, strict=True):
            part = np.ones(POSE)
            if kind != GROSS:
                part = np.zeros(POSE)
                part[parts[rng.integers(len(parts))]] = 1
                part[FOLDS] = limb_folds * (kind == LIMB)
            step = part * spread * rng.standard_normal(POSE)
            swing.append(step * size)
            if kind == GROSS:
                pose = memory * pose + step
                pose[SIDE] = _side(rng) if turns else rest[-1][SIDE]
            elif kind == LIMB:
                pose = pose + limb_step * step
                pose[LEGS.start : HEAD.stop] *= limb_memory
            rest.append(pose)
        return cls(
            np.array(rest), np.array(swing).reshape(-1, POSE), rng.uniform(0, 2 * np.pi, len(swing))
        )


def _spread() -> np.ndarray:
    """How far a movement of the whole body leads, per entry of the pose."""
    spread = np.empty(POSE)
    spread[SHIFT] = p("pose.along"), p("pose.across")
    spread[TURN], spread[SIDE], spread[BEND] = p("pose.turn"), p("pose.side"), p("pose.bend")
    spread[LEGS], spread[ARM], spread[HEAD] = p("pose.legs"), p("pose.arm"), p("pose.head")
    spread[FOLDS] = p("pose.folds")
    return spread


def _side(rng: np.random.Generator) -> float:
    return 0.0 if rng.random() < p("move.supine") else float(rng.choice([-1.0, 1.0]))


class Scene:
    """One subject's bed, blanket, body and camera, drawn once; `render` gives pictures of given poses and breaths."""

    def __init__(self, width: int, height: int, rng: np.random.Generator) -> None:

        def u(name: str, size: int | None = None) -> float | np.ndarray:
            return rng.uniform(*span(name), size)

        turn, scale = (
            u("scene.turn") + np.pi * (rng.random() < p("scene.turned_round")),
            u("scene.scale"),
        )
        x, y = np.meshgrid(
            (np.arange(width) + 0.5) / width * 2 - 1,
            ((np.arange(height) + 0.5) * 2 - height) / width,
        )
        x, y = x - u("scene.x"), y - u("scene.y")
        self.x = (scale * (np.cos(turn) * x + np.sin(turn) * y)).astype(np.float32)
        self.y = (scale * (np.cos(turn) * y - np.sin(turn) * x)).astype(np.float32)
        self.pixel = 2 * scale / width
        self.build = np.array(
            [u("body.torso_length"), u("body.torso_width"), u("body.torso_height")]
        )
        self.edge = u("scene.edge")
        n, sign = int(p("scene.fold_count")), [-1, 1]
        kx, ky = u("scene.fold_wave", n) * rng.choice(sign, n), u("scene.fold_wave", n)
        self.waves = np.stack([kx, ky, rng.uniform(0, 2 * np.pi, n), u("scene.fold_gain", n)])
        n = int(p("scene.weave_count"))
        kx, ky = u("scene.weave_wave", n), u("scene.weave_wave", n)
        self.weave = np.stack([kx, ky, rng.uniform(0, 2 * np.pi, n), u("scene.weave_gain", n)])
        self.light, self.tilt, self.power = (
            u("scene.light", 2),
            u("scene.lamp_tilt", 2),
            u("scene.lamp"),
        )
        self.albedo = {name: u(f"scene.{name}") for name in ("sheet", "blanket", "pillow", "hair")}
        self.bed = u("scene.bed")
        self.folds = p("video.folds")
        self.px = np.array([p("video.chest_px"), p("video.abdomen_px")]) * np.exp(
            p("video.visible_sd") * rng.standard_normal()
        )
        self.out = rng.uniform(0, 2 * np.pi)

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
        half = half * (1 - p("body.side_narrow") * aside)
        power = p("body.lump_power")

        def lump(cx: object, cy: object, rx: object, ry: object, tilt: object = 0.0) -> np.ndarray:
            dx, dy = x - cx, y - cy
            return np.exp(-((((dx + tilt * dy) / rx) ** 2 + ((dy - tilt * dx) / ry) ** 2) ** power))

        b_chest = lump(p("body.chest_x"), p("body.chest_side") * side, p("body.chest_length"), half)
        b_abdomen = lump(
            p("body.abdomen_x"), p("body.abdomen_side") * side, p("body.abdomen_length"), half
        )
        chest, abdomen = (
            chest[:, None, None].astype(np.float32),
            abdomen[:, None, None].astype(np.float32),
        )
        # Breathing lifts the blanket and drags its folds; in pixels of a 64-pixel-wide picture,
        # then body units.
        drag = (self.px[0] * chest * b_chest + self.px[1] * abdomen * b_abdomen).astype(
            np.float32
        ) * (2 / 64)
        rise = 1 + p("body.rise") * drag
        bend = column(BEND) * p("body.bend") + p("body.side_bend") * side
        torso = lump(p("body.torso_x"), p("body.torso_side") * side, length, half)
        torso = tall * (p("body.torso") + p("body.side_torso") * aside) * torso * rise
        high, apart = p("body.leg"), p("body.leg_apart") * (1 - p("body.side_legs") * aside)
        shift, lean = bend * p("body.leg_bend"), p("body.leg_lean") * bend
        x_leg, swing, rx, ry = (
            p("body.leg_x"),
            p("body.leg_swing"),
            p("body.leg_length"),
            p("body.leg_width"),
        )
        legs = 0.0
        for sign, index in ((-1, LEGS.start), (1, LEGS.start + 1)):
            legs = legs + high * lump(
                x_leg, sign * apart + shift, rx, ry, column(index) * swing + lean
            )
        reach = p("body.arm_apart") * np.sign(side + p("body.arm_change")) + p(
            "body.arm_swing"
        ) * column(ARM)
        arm = lump(p("body.arm_x"), reach, p("body.arm_length"), p("body.arm_width"), column(ARM))
        arm = p("body.arm") * arm
        hx, hy = (
            p("body.head_x") + column(HEAD.start),
            column(HEAD.start + 1) + p("body.head_side") * side,
        )
        head = lump(hx, hy, p("body.head_length"), p("body.head_width"))
        fx, fy, size = (
            p("body.face_x") * (1 - aside),
            p("body.face_side") * side,
            p("body.face_size"),
        )
        face = lump(hx + fx, hy + fy, size, size)

        across, along = y - drag * np.sin(self.out), x - drag * np.cos(self.out)
        folds = 0.0
        for kx, ky, phase, gain in self.waves.T.astype(np.float32):
            folds = folds + gain * np.sin(kx * along + ky * across + phase + column(FOLDS.start))
        hem = p("scene.edge_height") * np.sin(p("scene.edge_wave") * y + column(FOLDS.start + 1))
        covered = expit((x - self.edge + hem) / p("scene.edge_soft"))
        pattern = 1.0
        for kx, ky, phase, gain in self.weave.T.astype(np.float32):
            pattern = pattern + gain * np.sin(kx * along + ky * across + phase)
        height = torso + legs + arm + p("body.head") * head + covered * self.folds * folds
        slope_y, slope_x = np.gradient(height, self.pixel, axis=(1, 2))
        shade = (1 + slope_x * self.light[0] + slope_y * self.light[1]) / np.sqrt(
            1 + slope_x**2 + slope_y**2
        )

        a, floor, ambient = self.albedo, p("scene.floor"), p("scene.ambient")
        pillow = np.maximum(
            np.abs(self.x - p("scene.pillow_x")) * p("scene.pillow_ratio"), np.abs(self.y)
        )
        pillow = expit((p("scene.pillow_width") - pillow) / p("scene.pillow_soft"))
        bed = expit((self.bed - np.abs(self.y)) / p("scene.bed_soft"))
        albedo = floor + bed * (a["sheet"] - floor) + pillow * (a["pillow"] - a["sheet"])
        over = torso + legs + arm + bed > p("scene.blanket_over")
        albedo = albedo + covered * over * (a["blanket"] * pattern - albedo)
        albedo = albedo + head * (1 - covered) * (a["hair"] + p("scene.face") * face - albedo)
        fall = p("scene.lamp_fall") * (self.x**2 + self.y**2)
        lamp = self.power * (1 - fall + self.tilt[0] * self.x + self.tilt[1] * self.y)
        return (p("video.grey") * lamp * albedo * (ambient + (1 - ambient) * shade)).astype(
            np.float32
        )

    def basis(self, pose: np.ndarray) -> np.ndarray:
        """(5, pixels): the picture at rest, its first and second derivative by chest and by abdomen."""
        chest, abdomen = np.array([0, 1, 2, 0, 0.0]), np.array([0, 0, 0, 1, 2.0])
        still, c1, c2, a1, a2 = self.render(np.repeat(pose[None], 5, 0), chest, abdomen).reshape(
            5, -1
        )
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
        sx, sy = rng.uniform(*span("scene.spot_x")), rng.uniform(*span("scene.spot_y"))
        spot = np.exp(-((x - sx) ** 2 + (y - sy) ** 2) / p("scene.spot_area"))
        self.fields = np.stack([np.ones_like(x), x, y, x * y * 2, spot]).astype(np.float32)
        self.rng, self.now = rng, rng.standard_normal((2, len(self.fields)))

    def gains(self, n: int, seconds: float) -> np.ndarray:
        """Gains (n, pixels) of the next `n` frames, `seconds` apart."""
        keep = np.exp(-seconds / p("video.drift_s"))
        curve = np.empty((n, len(self.fields)))
        for i, step in enumerate(self.rng.standard_normal(curve.shape)):
            self.now[0] = keep * self.now[0] + np.sqrt(1 - keep**2) * step
            self.now[1] = (
                keep * self.now[1] + (1 - keep) * self.now[0]
            )  # smooth: light has no jumps
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
    shape, swings = scene.x.shape, p("pose.swings")
    grey, noisy, least = (
        np.float32(p("video.grey")),
        np.float32(p("video.noise")),
        p("video.noise_least"),
    )
    chest, abdomen = breathing.at(times)
    at = np.searchsorted(moves.onset, times, side="right") - 1
    inside = (
        (times - moves.onset[at]) / moves.duration[at] if len(moves.onset) else np.ones(len(times))
    )
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
            swing = np.sin(np.pi * share) * np.sin(
                2 * np.pi * swings * share + poses.phase[movement][:, None]
            )
            picture[here] = scene.render(
                pose + poses.swing[movement] * swing, c[here], a[here]
            ).reshape(len(here), -1)
        picture *= light.gains(len(c), times[1] - times[0])
        noise = rng.standard_normal(picture.shape, dtype=np.float32)
        picture += noisy * np.sqrt(np.maximum(picture, least) / grey) * noise
        yield np.clip(np.rint(picture), 0, 255).astype(np.uint8).reshape(-1, *shape)
