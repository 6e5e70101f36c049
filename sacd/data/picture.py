"""Grey pictures of video frames, turned as players show them, with the contrast that they hold."""

from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
from av.sidedata.sidedata import Type as SideData
from av.video.reformatter import Interpolation, VideoReformatter

from sacd.data.decode import open_film

_SEARCHED = 300
"""Frames decoded at most to come from a key frame to the wanted time."""
_DEPTHS = (8, 10, 12, 14, 16)
"""Bits of camera sensors. A file of 16 bits often holds fewer."""


def glances(path: Path, n: int) -> Iterator[av.VideoFrame]:
    """Up to n frames, spread over the video; over its first part if it cannot be searched."""
    with open_film(path) as (container, stream):
        start, length = stream.start_time or 0, stream.duration
        if not length and container.duration:
            length = int(container.duration / av.time_base / stream.time_base)
        for k in range(n):
            target, near = (start + length * k // n, 0) if length else (None, 2**k)
            try:
                if k and length:
                    container.seek(target, stream=stream)
                # A search ends at the key frame before, so frames are decoded up to the target.
                for j, frame in enumerate(container.decode(stream)):
                    late = target is not None and frame.pts is not None and frame.pts >= target
                    if late or j >= (near if target is None else _SEARCHED):
                        if not frame.is_corrupt:
                            yield frame
                        break
            except (av.FFmpegError, OSError):
                continue


class Pictures:
    """Reduces frames to grey pictures of one size, turned and mirrored as players show them.

    A display matrix that turns by no multiple of 90 degrees counts as the nearest one. Files of
    16 bits often hold 10 or 12: the scale is then that of the bits in use.

    Args:
        size: height and width in pixels of the picture as it is shown.
    """

    def __init__(self, path: Path, size: tuple[int, int]):
        self.path, self.size, self.shrink, self.bits = path, size, VideoReformatter(), 0

    def __call__(self, frame: av.VideoFrame) -> np.ndarray:
        """`(height, width)` uint8, grey levels 0..255, by area averaging."""
        (a, b), (c, d) = orientation(frame)
        turned = is_turned(frame)
        height, width = self.size[::-1] if turned else self.size
        deep = frame.format.name.startswith("gray16")
        picture = self.shrink.reformat(
            frame,
            width=width,
            height=height,
            format="gray16le" if deep else "gray",
            interpolation=Interpolation.AREA,
            threads=1,
        ).to_ndarray()
        if deep:
            # One scale for the whole video: a scale for each frame would hide its brightness.
            self.bits = self.bits or used_bits(self.path)
            picture = np.minimum(picture >> (self.bits - 8), 255).astype(np.uint8)
        if turned:
            # x' = c y and y' = b x.
            picture, a, d = picture.T, c, b
        return np.ascontiguousarray(picture[:: 1 if d >= 0 else -1, :: 1 if a >= 0 else -1])


def orientation(frame: av.VideoFrame) -> tuple[tuple[int, int], tuple[int, int]]:
    """(a, b), (c, d) of the display matrix: x' = a x + c y, y' = b x + d y; y points down."""
    for data in frame.side_data:
        if data.type == SideData.DISPLAYMATRIX:
            a, b, _, c, d = np.frombuffer(bytes(data), np.int32)[:5].tolist()
            return (a, b), (c, d)
    return (1, 0), (0, 1)


def is_turned(frame: av.VideoFrame) -> bool:
    """Whether a frame is shown turned by about 90 degrees, so that its rows become columns."""
    (a, b), (c, d) = orientation(frame)
    return abs(a) + abs(d) < abs(b) + abs(c)


def used_bits(path: Path) -> int:
    """How many of 16 bits a grey video uses, from frames spread over it."""
    found = [int(frame.to_ndarray(format="gray16le").max()) for frame in glances(path, 16)]
    largest = max(found, default=2**16 - 1)
    return next(bits for bits in _DEPTHS if largest < 2**bits)
