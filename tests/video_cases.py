"""Videos with what was done to them, the clips that must be kept, and the line of `check`."""

from fractions import Fraction
from functools import cache

import av
import numpy as np
from video_files import (
    CLIPS,
    FPS,
    TIMES,
    add_cover,
    append_clusters,
    jpeg,
    overwrite,
    packets,
    picture,
    stamp_anew,
    write_film,
    zeros,
)

ALL = list(range(CLIPS))


def made(suffix=".mp4", then=None, **how):
    """A case: write the video, then do something to it."""

    def write(stem):
        path = write_film(stem.with_suffix(suffix), **how)
        if then:
            then(path)

    return write


def at(stamps, suffix=".mkv"):
    """A video whose frames have other time stamps; a function of time gives them."""
    return made(suffix, stamps=[stamps(t) for t in TIMES])


def wrong(stamps, suffix=".mkv"):
    """As `at`, with time stamps that go back: no encoder writes these."""

    def write(stem):
        straight = write_film(stem.with_name("straight.mkv"), codec="mjpeg", pix="yuvj420p")
        stamp_anew(straight, stem.with_suffix(suffix), [stamps(t) for t in TIMES])

    return write


def only(keep, suffix=".mp4"):
    """A video in which frames are missing."""
    times = [t for t in TIMES if keep(t)]
    return made(suffix, times=times)


def restart(stem):
    path = write_film(stem.with_suffix(".mkv"), TIMES[: 30 * FPS], container={"live": "1"})
    rest = TIMES[30 * FPS :]
    second = write_film(stem.with_name("second.mkv"), rest, [t - 30 for t in rest])
    append_clusters(path, second)


def joined_ts(stem):
    path = stem.with_suffix(".ts")
    write_film(path, TIMES[: 45 * FPS])
    rest = TIMES[45 * FPS :]
    second = write_film(stem.with_name("second.ts"), rest, [t - 45 for t in rest])
    path.write_bytes(path.read_bytes() + second.read_bytes())
    second.unlink()


def cut(share):
    return lambda path: path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])


def misstate(path):
    """The header says that the video lasts a moment."""
    for box, place in ((b"mvhd", 16), (b"mdhd", 16), (b"tkhd", 20)):
        at = path.read_bytes().find(box) + 4 + place
        overwrite(path, at, (1000).to_bytes(4, "big"))


def noise(path):
    """Random bytes over half a packet in the middle of clip 1."""
    place, size = next(p[1:] for p in packets(path) if p[0] > 45 and p[2] > 40)
    rng = np.random.default_rng(0)
    overwrite(path, place + size // 4, rng.bytes(size // 2))


@cache
def noisy(second, height=48, width=64):
    rng = np.random.default_rng(round(second * FPS))
    return np.minimum(picture(second) + rng.integers(0, 5, (height, width)), 255).astype(np.uint8)


def text(content):
    return lambda stem: (
        stem.parent.mkdir(parents=True),
        stem.with_suffix(".mp4").write_bytes(content),
    )


def bad_sector(path):
    """Zeros over some packets and their headers in clip 1."""
    _, place, _ = next(p for p in packets(path) if p[0] > 45)
    overwrite(path, place - 40, bytes(9000))


def lose(path):
    """Some packets of the transport stream are gone, in clip 1."""
    data = path.read_bytes()
    start = len(data) * 3 // 8 // 188 * 188
    path.write_bytes(data[:start] + data[start + 40 * 188 :])


def cover_track(stem):
    """A video of one picture, larger than the film, stands first."""
    stem.parent.mkdir(parents=True)
    with av.open(str(stem.with_suffix(".mp4")), "w") as out:
        cover, film = out.add_stream("mjpeg", rate=1), out.add_stream("libx264", rate=FPS)
        cover.width, cover.height, cover.pix_fmt = 128, 96, "yuvj420p"
        film.width, film.height, film.pix_fmt = 64, 48, "yuv420p"
        film.options = {"qp": "8", "threads": "1"}
        shown = [(cover, picture(100, 96, 128), 0)]
        shown += [(film, picture(time), k) for k, time in enumerate(TIMES)]
        for stream, image, k in shown:
            frame = av.VideoFrame.from_ndarray(image, format="gray")
            frame.pts = k
            out.mux(stream.encode(frame))
        out.mux([*cover.encode(None), *film.encode(None)])


def sound(stem):
    stem.parent.mkdir(parents=True)
    with av.open(str(stem.with_suffix(".mp4")), "w") as out:
        stream = out.add_stream("aac", rate=16000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 16000), np.float32), "fltp", "mono")
        frame.sample_rate = 16000
        out.mux([*stream.encode(frame), *stream.encode(None)])


def rate_of(fast, slow, until):
    """`fast` frames/s up to a time, then `slow`."""
    end = 30 * CLIPS + 2
    times = [k / fast for k in range(round(until * fast))]
    return made(times=times + [until + k / slow for k in range(round((end - until) * slow))])


SLOW, AGAIN = "frames/s are 30 frames a clip", r"time stamps start again: after {} s of video"
APART = "the time stamp of its first frame is {:g} s, of the next one {:g} s"
LOST = "{} scored clips are lost"
# name: (video, clips that are kept, line of check)
READ = {
    "steady": (made(), ALL, ""),
    "capitals": (made(".MP4"), ALL, ""),
    "mov": (made(".mov"), ALL, ""),
    "MOV": (made(".MOV", then=None), ALL, ""),
    "ts that starts late": (made(".ts"), ALL, ""),
    "webm": (made(".webm", codec="libvpx-vp9", options={"crf": "10"}), ALL, ""),
    "avi with B-frames": (made(".avi", tick=FPS), ALL, ""),
    "mpeg-4 avi": (made(".avi", codec="mpeg4", tick=FPS), ALL, ""),
    "motion jpeg": (made(".avi", codec="mjpeg", pix="yuvj420p", tick=FPS), ALL, ""),
    "full range": (made(pix="yuvj420p"), ALL, ""),
    "10 bits": (made(pix="yuv420p10le"), ALL, ""),
    "grey of 10 bits": (made(".mkv", codec="ffv1", pix="gray10le"), ALL, ""),
    "grey of 12 bits": (made(".mkv", codec="ffv1", pix="gray12le"), ALL, ""),
    "12 bits in grey of 16": (made(".mkv", codec="ffv1", pix="gray16le"), ALL, ""),
    "alpha": (made(".mkv", codec="ffv1", pix="yuva420p"), ALL, ""),
    "colour": (made(".avi", codec="rawvideo", pix="bgr24", tick=FPS), ALL, ""),
    "odd size": (made(".mkv", codec="ffv1", shape=(47, 63)), ALL, ""),
    "wide pixels": (made(sar=Fraction(2, 1)), ALL, ""),
    "interlaced": (made(options={"qp": "8", "flags": "+ildct+ilme", "threads": "1"}), ALL, ""),
    "starts at 100 s": (at(lambda t: t + 100), ALL, ""),
    "a wrong duration in the header": (made(then=misstate), ALL, ""),
    "starts below 0": (at(lambda t: t - 2), ALL, ""),
    "whole seconds": (wrong(lambda t: float(int(t))), ALL, ""),
    "cover first": (made(then=add_cover), ALL, ""),
    "rate drops in the dark": (rate_of(10, 5, 60), ALL, ""),
    "rate drops to 1": (rate_of(10, 1, 60), ALL, ""),
    "rate rises": (rate_of(2, 15, 45), ALL, ""),
    "one frame a second": (made(times=[float(k) for k in range(122)]), ALL, ""),
    "one stamp far ahead": (wrong(lambda t: 5000 if t == 45 else t), ALL, ""),
    "one stamp back at 0": (wrong(lambda t: 0 if t == 45 else t), ALL, ""),
    "repeated stamps": (at(lambda t: t - 0.2 if 40 <= t < 50 and t * 5 % 2 else t), ALL, ""),
    "jitter": (at(lambda t: t + 0.08 * np.sin(37 * t) + 0.1), ALL, ""),
    "every fifth frame lost": (only(lambda t: round(t * FPS) % 5), ALL, ""),
    "bursts": (made(times=[k + j / 25 for k in range(122) for j in range(5)]), ALL, ""),
    "cover that is not called one": (cover_track, ALL, "holds 2 videos"),
    "chunks of an avi lost": (
        made(".avi", codec="mjpeg", pix="yuvj420p", tick=FPS, image=noisy, then=bad_sector),
        [0, 2, 3],
        LOST.format(1),
    ),
    "packets of a ts lost": (made(".ts", image=noisy, then=lose), [0, 2, 3], LOST.format(1)),
    "pause": (only(lambda t: not 30 <= t < 60), [0, 2, 3], "1 of 1 N1"),
    "a second, then a pause": (only(lambda t: not 1 < t < 17), [1, 2, 3], LOST.format(1)),
    "second frame late": (only(lambda t: not 0 < t < 0.4), ALL, ""),
    "all of the first 20 s but one frame zeros": (
        made(then=lambda p: zeros(p, 0.1, 100)),
        [1, 2, 3],
        LOST.format(1),
    ),
    "short pause": (only(lambda t: not 44 <= t < 47), [0, 2, 3], "longest of 3.2 s, from 43.8 s"),
    "half the night off": (only(lambda t: t < 30 or t >= 90), [0, 3], LOST.format(2)),
    "long repeat": (at(lambda t: 40 if 40 <= t < 50 else t), [0, 2, 3], LOST.format(1)),
    "zeros": (made(then=lambda p: zeros(p, 45)), [0, 2, 3], LOST.format(1)),
    "zeros in mkv": (made(".mkv", then=lambda p: zeros(p, 45)), [0, 2, 3], LOST.format(1)),
    "zeros for 20 s": (made(then=lambda p: zeros(p, 35, 100)), [0, 2, 3], LOST.format(1)),
    "first 20 s zeros": (made(then=lambda p: zeros(p, 0, 100)), [1, 2, 3], LOST.format(1)),
    "random bytes": (made(image=noisy, then=noise), [0, 2, 3], LOST.format(1)),
    "cut mp4": (
        made(image=noisy, container={"movflags": "faststart"}, then=cut(0.6)),
        [0, 1],
        LOST.format(2),
    ),
    "cut mkv": (made(".mkv", image=noisy, then=cut(0.6)), [0, 1], LOST.format(2)),
    "cut ts": (made(".ts", image=noisy, then=cut(0.6)), [0, 1], LOST.format(2)),
    "cut avi": (made(".avi", image=noisy, tick=FPS, then=cut(0.6)), [0, 1], LOST.format(2)),
}
# name: (video, the line of check and of ingest)
REFUSED = {
    "restart in mkv": (restart, AGAIN.format(29.8)),
    "restart in ts": (joined_ts, AGAIN.format(44.8)),
    "clock set back": (wrong(lambda t: t if t < 70 else t - 5), AGAIN.format(69.8)),
    "clock set back by 1 s": (wrong(lambda t: t if t < 70 else t - 1), AGAIN.format(69.8)),
    "jpeg": (lambda stem: text(jpeg())(stem), "is a picture, not a video"),
    "text": (text(b"not a video" * 100), "cannot be opened as video"),
    "empty": (text(b""), "cannot be opened as video"),
    "sound only": (sound, "holds no video"),
    "no index": (made(then=cut(0.5)), "cannot be opened as video"),
    "all zeros": (made(then=lambda p: zeros(p, 0, 10**6)), "no frame that can be read"),
    "too slow": (made(times=[6.0 * k for k in range(21)]), "at least 0.5 are needed"),
    "time-lapse": (at(lambda t: t / 25), "lasts 4.84 s, and the scored clips after its start 120"),
    "time-lapse in mp4": (at(lambda t: t / 25, ".mp4"), "s: 4.0%, limit 10%"),
    "first frame at -5 s": (
        at(lambda t: t + 7.3 if t else -5),
        "its first frame is 0 s, of the next one 12.5 s: wrong, and all others 12.5 s off, or ri",
    ),
    "first frame at -5 s in ts": (at(lambda t: t + 7.3 if t else -5, ".ts"), "others 12.5 s off"),
    "first frame at 0": (at(lambda t: t + 7.3 * (t > 0), ".mp4"), APART.format(0, 7.5)),
    "first stamps at 0": (wrong(lambda t: (t + 7.3) * (t > 0.5)), APART.format(0, 7.9)),
    "first frame far ahead": (wrong(lambda t: t or 5000), APART.format(5000, 0.2)),
    "first frame ahead": (wrong(lambda t: t or 3), APART.format(3, 0.2)),
    "elsewhere": (at(lambda t: t + 4000 * (t > 1)), "no scored clip"),
}
