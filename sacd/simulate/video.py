"""Infrared video of one night: a body under a blanket, seen from above, with light and noise."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy.special import expit

from sacd.simulate.parameters import parameter as p
from sacd.simulate.parameters import span
from sacd.simulate.physiology import GROSS, LIMB, Breathing, Movements

# Entries of a pose, which is a vector.
SHIFT = slice(0, 2)  # along and across the bed
TURN = 2
SIDE = 3  # -1 left, 0 supine, 1 right
BEND = 4  # of the legs
LEGS = slice(5, 7)  # angles of the two legs
ARM = 7
HEAD = slice(8, 10)  # along and across the bed
FOLDS = slice(10, 12)  # phases of the folds of the blanket
POSE = 12


@dataclass(frozen=True)
class Poses:
    """The pose between the movements, and how the body moves during each of them."""

    rest: np.ndarray  # (movements + 1, POSE) before and after every movement
    swing: np.ndarray  # (movements, POSE) amplitude of the swinging during the movement
    phase: np.ndarray  # (movements,)

    @classmethod
    def draw(cls, moves: Movements, rng: np.random.Generator) -> "Poses":
        """Random poses: a movement is of the whole body, of a limb or the head, or a twitch.

        A twitch leaves the pose as it was.
        """
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
        phase = rng.uniform(0, 2 * np.pi, len(swing))
        return cls(np.array(rest), np.array(swing).reshape(-1, POSE), phase)


def _spread() -> np.ndarray:
    """Standard deviation of a movement of the whole body, per entry of the pose."""
    spread = np.empty(POSE)
    spread[SHIFT] = p("pose.along"), p("pose.across")
    spread[TURN], spread[SIDE], spread[BEND] = p("pose.turn"), p("pose.side"), p("pose.bend")
    spread[LEGS], spread[ARM], spread[HEAD] = p("pose.legs"), p("pose.arm"), p("pose.head")
    spread[FOLDS] = p("pose.folds")
    return spread


def _side(rng: np.random.Generator) -> float:
    return 0.0 if rng.random() < p("move.supine") else float(rng.choice([-1.0, 1.0]))


class Scene:
    """Bed, blanket, body and camera of one subject, drawn at random once.

    Coordinates run along (x) and across (y) the bed; the width of the image is 2 units at scale 1.
    """

    def __init__(self, width: int, height: int, rng: np.random.Generator) -> None:
        def u(name: str, size: int | None = None) -> float | np.ndarray:
            return rng.uniform(*span(name), size)

        turn = u("scene.turn") + np.pi * (rng.random() < p("scene.turned_round"))
        scale = u("scene.scale")
        columns = (np.arange(width) + 0.5) / width * 2 - 1
        rows = ((np.arange(height) + 0.5) * 2 - height) / width
        x, y = np.meshgrid(columns, rows)
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
        self.light, self.tilt = u("scene.light", 2), u("scene.lamp_tilt", 2)
        self.power = u("scene.lamp")
        self.albedo = {name: u(f"scene.{name}") for name in ("sheet", "blanket", "pillow", "hair")}
        self.bed = u("scene.bed")
        self.folds = p("video.folds")
        visible = np.exp(p("video.visible_sd") * rng.standard_normal())
        self.px = np.array([p("video.chest_px"), p("video.abdomen_px")]) * visible
        self.out = rng.uniform(0, 2 * np.pi)

    def render(self, pose: np.ndarray, chest: np.ndarray, abdomen: np.ndarray) -> np.ndarray:
        """Images (n, height, width) in grey levels, for poses (n, POSE) and breaths (n,).

        Body parts are smooth lumps that form a height map; a lamp shades its slopes.
        """
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
            # 1 at the centre (cx, cy), falling off over the radii (rx, ry).
            dx, dy = x - cx, y - cy
            return np.exp(-((((dx + tilt * dy) / rx) ** 2 + ((dy - tilt * dx) / ry) ** 2) ** power))

        b_chest = lump(p("body.chest_x"), p("body.chest_side") * side, p("body.chest_length"), half)
        b_abdomen = lump(
            p("body.abdomen_x"), p("body.abdomen_side") * side, p("body.abdomen_length"), half
        )
        chest = chest[:, None, None].astype(np.float32)
        abdomen = abdomen[:, None, None].astype(np.float32)
        # Breathing lifts the blanket and drags its folds: first in pixels of an image that is 64
        # pixels wide, then in units of the scene.
        drag = self.px[0] * chest * b_chest + self.px[1] * abdomen * b_abdomen
        drag = drag.astype(np.float32) * (2 / 64)
        rise = 1 + p("body.rise") * drag
        bend = column(BEND) * p("body.bend") + p("body.side_bend") * side
        torso = lump(p("body.torso_x"), p("body.torso_side") * side, length, half)
        torso = tall * (p("body.torso") + p("body.side_torso") * aside) * torso * rise
        high, apart = p("body.leg"), p("body.leg_apart") * (1 - p("body.side_legs") * aside)
        shift, lean = bend * p("body.leg_bend"), p("body.leg_lean") * bend
        x_leg, swing = p("body.leg_x"), p("body.leg_swing")
        rx, ry = p("body.leg_length"), p("body.leg_width")
        legs = 0.0
        for sign, index in ((-1, LEGS.start), (1, LEGS.start + 1)):
            tilt = column(index) * swing + lean
            legs = legs + high * lump(x_leg, sign * apart + shift, rx, ry, tilt)
        reach = p("body.arm_apart") * np.sign(side + p("body.arm_change"))
        reach = reach + p("body.arm_swing") * column(ARM)
        arm = lump(p("body.arm_x"), reach, p("body.arm_length"), p("body.arm_width"), column(ARM))
        arm = p("body.arm") * arm
        hx = p("body.head_x") + column(HEAD.start)
        hy = column(HEAD.start + 1) + p("body.head_side") * side
        head = lump(hx, hy, p("body.head_length"), p("body.head_width"))
        fx, fy = p("body.face_x") * (1 - aside), p("body.face_side") * side
        size = p("body.face_size")
        face = lump(hx + fx, hy + fy, size, size)

        # The pattern and the folds of the blanket move with the breath; its upper edge waves.
        across, along = y - drag * np.sin(self.out), x - drag * np.cos(self.out)
        folds = _ripples(0.0, self.waves, along, across, column(FOLDS.start))
        pattern = _ripples(1.0, self.weave, along, across, 0.0)
        hem = p("scene.edge_height") * np.sin(p("scene.edge_wave") * y + column(FOLDS.start + 1))
        covered = expit((x - self.edge + hem) / p("scene.edge_soft"))
        body = torso + legs + arm
        height = body + p("body.head") * head + covered * self.folds * folds
        albedo = self._albedo(body, covered, pattern, head, face)
        fall = p("scene.lamp_fall") * (self.x**2 + self.y**2)
        lamp = self.power * (1 - fall + self.tilt[0] * self.x + self.tilt[1] * self.y)
        shade = p("scene.ambient") + (1 - p("scene.ambient")) * self._shade(height)
        return (p("video.grey") * lamp * albedo * shade).astype(np.float32)

    def _shade(self, height: np.ndarray) -> np.ndarray:
        """Lambert's law: cosine between the surface normal and the direction of the light."""
        slope_y, slope_x = np.gradient(height, self.pixel, axis=(1, 2))
        facing = 1 + slope_x * self.light[0] + slope_y * self.light[1]
        return facing / np.sqrt(1 + slope_x**2 + slope_y**2)

    def _albedo(self, body, covered, pattern, head, face) -> np.ndarray:
        """Reflectance: floor, sheet, pillow, blanket and head, each over the one before."""
        a, floor = self.albedo, p("scene.floor")
        from_pillow = np.abs(self.x - p("scene.pillow_x")) * p("scene.pillow_ratio")
        from_pillow = np.maximum(from_pillow, np.abs(self.y))
        pillow = expit((p("scene.pillow_width") - from_pillow) / p("scene.pillow_soft"))
        bed = expit((self.bed - np.abs(self.y)) / p("scene.bed_soft"))
        albedo = floor + bed * (a["sheet"] - floor) + pillow * (a["pillow"] - a["sheet"])
        over = body + bed > p("scene.blanket_over")
        albedo = albedo + covered * over * (a["blanket"] * pattern - albedo)
        return albedo + head * (1 - covered) * (a["hair"] + p("scene.face") * face - albedo)

    def basis(self, pose: np.ndarray) -> np.ndarray:
        """(5, pixels): coefficients of 1, c, c^2, a, a^2 for breaths c (chest) and a (abdomen).

        The second-order expansion of a pose's image in the two breaths. It costs five renderings
        per pose instead of one per frame.
        """
        chest, abdomen = np.array([0, 1, 2, 0, 0.0]), np.array([0, 0, 0, 1, 2.0])
        images = self.render(np.repeat(pose[None], 5, 0), chest, abdomen)
        still, c1, c2, a1, a2 = images.reshape(5, -1)
        # Parabolas through the values at 0, 1 and 2.
        return np.stack(
            [
                still,
                *(2 * c1 - 1.5 * still - 0.5 * c2, 0.5 * (still + c2) - c1),
                *(2 * a1 - 1.5 * still - 0.5 * a2, 0.5 * (still + a2) - a1),
            ]
        )


def _ripples(total, waves: np.ndarray, along: np.ndarray, across: np.ndarray, shift):
    """`total` plus plane waves; `waves` has the rows wave number x and y, phase, gain."""
    for kx, ky, phase, gain in waves.T.astype(np.float32):
        total = total + gain * np.sin(kx * along + ky * across + phase + shift)
    return total


class Light:
    """Slowly drifting, uneven light: random gains of smooth fields, and a flicker per frame."""

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
        # AR(1) with variance 1, whatever the time between the frames.
        for i, step in enumerate(self.rng.standard_normal(curve.shape)):
            self.now[0] = keep * self.now[0] + np.sqrt(1 - keep**2) * step
            # Low-passed once more, so that the light is smooth.
            self.now[1] = keep * self.now[1] + (1 - keep) * self.now[0]
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
) -> Iterator[np.ndarray]:
    """Frames (<= 64, height, width) uint8 at `times` (s since lights out), in order."""
    # The length of a chunk limits the memory, and decides the order of the random draws.
    chunk, shape, swings = 64, scene.x.shape, p("pose.swings")
    grey, noisy = np.float32(p("video.grey")), np.float32(p("video.noise"))
    least = p("video.noise_least")
    chest, abdomen = breathing.at(times)
    # Last movement that began before each frame (-1: none), and the elapsed share of it.
    at = np.searchsorted(moves.onset, times, side="right") - 1
    inside = np.ones(len(times))
    if len(moves.onset):
        inside = (times - moves.onset[at]) / moves.duration[at]
    moving = (at >= 0) & (inside < 1)
    bases: dict[int, np.ndarray] = {}
    for first in range(0, len(times), chunk):
        part = slice(first, min(first + chunk, len(times)))
        c, a = chest[part].astype(np.float32), abdomen[part].astype(np.float32)
        picture = np.empty((len(c), scene.x.size), np.float32)
        rest = at[part] + 1
        for index in np.unique(rest[~moving[part]]):
            if index not in bases:  # the body never returns to an earlier pose
                bases = {int(index): scene.basis(poses.rest[index])}
            here = np.flatnonzero((rest == index) & ~moving[part])
            terms = np.stack([np.ones_like(c), c, c * c, a, a * a], 1)[here]
            picture[here] = terms @ bases[int(index)]
        if len(here := np.flatnonzero(moving[part])):
            movement, share = at[part][here], inside[part][here][:, None]
            smooth = share**2 * (3 - 2 * share)  # from 0 to 1 with slope 0 at both ends
            pose = poses.rest[movement] * (1 - smooth) + poses.rest[movement + 1] * smooth
            angle = 2 * np.pi * swings * share + poses.phase[movement][:, None]
            pose = pose + poses.swing[movement] * (np.sin(np.pi * share) * np.sin(angle))
            picture[here] = scene.render(pose, c[here], a[here]).reshape(len(here), -1)
        picture *= light.gains(len(c), times[1] - times[0])
        # Shot noise: its deviation grows with the square root of the grey level.
        noise = rng.standard_normal(picture.shape, dtype=np.float32)
        picture += noisy * np.sqrt(np.maximum(picture, least) / grey) * noise
        yield np.clip(np.rint(picture), 0, 255).astype(np.uint8).reshape(-1, *shape)
