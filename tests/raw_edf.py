"""EDF files byte by byte, for faults that no library writes: pauses, damaged headers, odd text."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

RATE = 128


def stepped(clips: Sequence[int]) -> np.ndarray:
    """Noise whose clip k has a standard deviation of 10 (k + 1) uV: one sees which was read."""
    rng = np.random.default_rng(0)
    return np.concatenate([rng.normal(0, 10 * (k + 1), 30 * RATE) for k in clips])


def write_raw(
    path: Path,
    channels: dict[str | bytes, np.ndarray] | list[tuple[str, np.ndarray]],
    kind: str = "",
    starts: Sequence[float] | None = None,
    note: bytes = b"",
    unit: bytes = b"uV",
    limit: float = 1000,
) -> None:
    """Records of 1 s at 128 Hz.

    Args:
        channels: label -> samples in uV; a list of pairs may repeat a label.
        kind: `EDF+C` or `EDF+D` adds a channel of annotations.
        starts: onset of every record in s, instead of 0, 1, 2, ...
        note: text of an annotation in record 0, as bytes.
    """
    pairs = list(channels.items() if isinstance(channels, dict) else channels)
    seconds = len(pairs[0][1]) // RATE
    columns = []
    for label, x in pairs:
        digits = np.round((x + limit) / (2 * limit) * 65535 - 32768).clip(-32768, 32767)
        columns.append((label.encode(), unit, -limit, limit, RATE, digits))
    if kind:
        tals = b""
        for k in range(seconds):
            tal = f"+{k if starts is None else starts[k]}\x14\x14\0".encode()
            tal += b"+0.5\x14" + note + b"\x14\0" if note and k == 0 else b""
            tals += tal.ljust(64, b"\0")
        columns.append((b"EDF Annotations", b"", -1, 1, 32, np.frombuffer(tals, "<i2")))
    ns = len(columns)
    head = b"0".ljust(8) + b"X X X X".ljust(80) + b"Startdate 01-JAN-2020 X X X".ljust(80)
    head += b"01.01.2022.00.00" + str(256 * (ns + 1)).encode().ljust(8) + kind.encode().ljust(44)
    head += str(seconds).encode().ljust(8) + b"1".ljust(8) + str(ns).encode().ljust(4)
    for width, values in (
        (16, [c[0] for c in columns]),
        (80, [b""] * ns),
        (8, [c[1] for c in columns]),
        (8, [str(c[2]).encode() for c in columns]),
        (8, [str(c[3]).encode() for c in columns]),
        (8, [b"-32768"] * ns),
        (8, [b"32767"] * ns),
        (80, [b""] * ns),
        (8, [str(c[4]).encode() for c in columns]),
        (32, [b""] * ns),
    ):
        head += b"".join(value.ljust(width) for value in values)
    records = [c[5].astype("<i2").reshape(seconds, c[4]) for c in columns]
    path.write_bytes(head + np.hstack(records).tobytes())


def overwrite(path: Path, at: int, data: bytes) -> None:
    """Replace bytes of a file; EDF's patient is at 8, its reserved field at 192."""
    whole = path.read_bytes()
    path.write_bytes(whole[:at] + data + whole[at + len(data) :])
