"""Videos as cameras, recorders and bad disks leave them; each clip has a brightness of its own."""

import struct
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from cohort_files import paths, write_about, write_edf, write_events

FPS, CLIPS = 5, 4
STAGES = ("W", "N1", "N2", "N3", "REM")


def level(second: float) -> int:
    """Brightness of the left half at a time: clip k has 40 (k + 1)."""
    return min(40 * (int(second // 30) + 1), 240)


def picture(second: float, height: int = 48, width: int = 64) -> np.ndarray:
    """Left half as bright as the clip, right half black, and white at the top left."""
    image = np.zeros((height, width), np.uint8)
    image[:, : width // 2] = level(second)
    image[: height // 4, : width // 4] = 250
    return image


TIMES = tuple(k / FPS for k in range(30 * CLIPS * FPS + FPS))


def write_film(
    path: Path,
    times=TIMES,
    stamps=None,
    codec: str = "libx264",
    pix: str = "yuv420p",
    shape=(48, 64),
    options=None,
    container=None,
    sar: Fraction | None = None,
    image=picture,
    tick: int = 1000,
) -> Path:
    """Pictures of `times`, shown at `stamps` (s; default: at these times)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if codec == "libx264" and options is None:
        options = {"qp": "8", "g": "50", "threads": "1"}
    with av.open(str(path), "w", options=container or {}) as out:
        stream = out.add_stream(codec, rate=FPS, options=options or {})
        stream.height, stream.width, stream.pix_fmt = *shape, pix
        stream.codec_context.time_base = Fraction(1, tick)
        if sar:
            stream.codec_context.sample_aspect_ratio = sar
        for time, stamp in zip(times, stamps or times, strict=True):
            deep = pix.startswith("gray1")
            data = image(time, *shape)
            if deep:
                data = data.astype(np.uint16) << (int(pix[4:6]) - 8 if pix[4:6] != "16" else 4)
            # `encode` converts to the stream's format, faster than `frame.reformat`.
            frame = av.VideoFrame.from_ndarray(data, format=pix if deep else "gray")
            frame.pts, frame.time_base = round(stamp * tick), Fraction(1, tick)
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    return path


def write_night(root: Path, subject: str = "sub-01", clips: int = CLIPS) -> Path:
    """A night without a video; returns the path that its video should have, without extension."""
    eeg, events, video = paths(root, subject)
    rng = np.random.default_rng(0)
    spread = np.repeat(10.0 * np.arange(1, clips + 1), 30 * 128)
    write_edf(eeg, {"C3": (rng.normal(0, 1, len(spread)) * spread, 128)})
    write_events(events, [(30 * k, 30, STAGES[k % 5]) for k in range(clips)])
    write_about(root, {subject: 12.5})
    return video


def packets(path: Path) -> list[tuple[float, int, int]]:
    """Time, place and size of every packet of the video, in the order of the file."""
    with av.open(str(path)) as film:
        return [
            (float(p.pts * p.time_base), p.pos, p.size)
            for p in film.demux(film.streams.best("video"))
            if p.size
        ]


def overwrite(path: Path, start: int, content: bytes) -> None:
    data = bytearray(path.read_bytes())
    data[start : start + len(content)] = content
    path.write_bytes(data)


def zeros(path: Path, after: float, n: int = 1) -> None:
    """The first n packets after a time become zeros, as in bad sectors."""
    for _, place, size in [p for p in packets(path) if p[0] >= after][:n]:
        overwrite(path, place, bytes(size))


def turn(path: Path, matrix: tuple[int, int, int, int]) -> None:
    """Write a display matrix: a, b, c, d in units."""
    a, b, c, d = (v * 0x10000 for v in matrix)
    data = path.read_bytes()
    at = data.find(b"tkhd") + 4
    at += 4 + (20 if data[at] == 0 else 32) + 16
    overwrite(path, at, struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 0x40000000))


def jpeg() -> bytes:
    codec = av.CodecContext.create("mjpeg", "w")
    codec.width, codec.height, codec.pix_fmt, codec.time_base = 64, 48, "yuvj420p", Fraction(1, 25)
    frame = av.VideoFrame.from_ndarray(picture(0), format="gray").reformat(format="yuvj420p")
    frame.pts = 0
    return b"".join(bytes(p) for p in [*codec.encode(frame), *codec.encode(None)])


def boxes(data: bytes):
    """(kind, bytes) of the boxes of an MP4."""
    at = 0
    while at < len(data):
        size, kind = struct.unpack(">I4s", data[at : at + 8])
        yield kind, data[at : at + size]
        at += size


def add_cover(path: Path) -> None:
    """A cover picture before the video, as some programs write it."""

    def box(kind, content):
        return struct.pack(">I4s", 8 + len(content), kind) + content

    handler = box(b"hdlr", struct.pack(">II4s", 0, 0, b"mdir") + b"appl" + bytes(9))
    cover = box(b"ilst", box(b"covr", box(b"data", struct.pack(">II", 13, 0) + jpeg())))
    cover = box(b"udta", box(b"meta", bytes(4) + handler + cover))
    out = b""
    for kind, content in boxes(path.read_bytes()):
        if kind == b"moov":
            parts = [part for name, part in boxes(content[8:]) if name != b"udta"]
            content = box(b"moov", parts[0] + cover + b"".join(parts[1:]))
        out += content
    path.write_bytes(out)


def append_clusters(path: Path, second: Path) -> None:
    """An MKV goes on with the clusters of another one, whose time starts at 0."""
    data = second.read_bytes()
    path.write_bytes(path.read_bytes() + data[data.find(bytes.fromhex("1F43B675")) :])
    second.unlink()


def stamp_anew(path: Path, target: Path, stamps: list[float]) -> None:
    """Copy a video whose packets are all key frames, with other time stamps in ms; removes it."""
    with (
        av.open(str(path)) as film,
        av.open(str(target), "w", options={"avoid_negative_ts": "disabled"}) as out,
    ):
        stream = out.add_stream_from_template(film.streams.video[0])
        found = [packet for packet in film.demux(video=0) if packet.size]
        for k, (packet, stamp) in enumerate(zip(found, stamps, strict=True)):
            # The muxer wants times of decoding that rise and lie before those of showing.
            packet.time_base = Fraction(1, 1000)
            packet.pts, packet.dts, packet.stream = round(1000 * stamp), k - 10_000, stream
            out.mux(packet)
    path.unlink()
