"""Frames of a video file in the order in which they are shown; what is broken is left out.

Frames that a broken packet spoils are those predicted from it: all up to the next key frame in
decoding order. A decoder shows them with the damage, so they are left out too.
"""

import heapq
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path

import av
import numpy as np
from av.sidedata.sidedata import Type as SideData
from av.stream import Disposition
from av.video.reformatter import Interpolation, VideoReformatter

from sacd.data.cohort import CohortError

REWRITE = "re-encode it, for example `ffmpeg -i in -c:v libx264 -an out.mp4`"
_NO_FILM = Disposition.attached_pic | Disposition.still_image | Disposition.timed_thumbnails
_WAITING = 512
"""Packets remembered until their frame is shown; decoders reorder far fewer."""
_NO_ZEROS = ("h264", "hevc", "mpeg4", "mpeg2video", "mjpeg", "vp8", "vp9", "av1")
_ZEROS = 32
_REORDERED = 16
_DEPTHS = (8, 10, 12, 14, 16)
"""Bits of camera sensors. A file of 16 bits often holds fewer."""


@contextmanager
def open_film(path: Path) -> Iterator[tuple[av.container.InputContainer, av.VideoStream]]:
    """The file and its video: not a cover picture, and of several videos the best one.

    Raises:
        CohortError: it cannot be opened, or holds no video.
    """
    try:
        # Text of tags may have any encoding, and none is needed here.
        container = av.open(str(path), metadata_errors="replace")
    except (av.FFmpegError, OSError) as error:
        problem = f"cannot be opened as video ({error.strerror or error})"
        raise CohortError(path, problem, REWRITE) from None
    with container:
        if container.format.name.endswith("_pipe") or container.format.name == "image2":
            raise CohortError(path, "is a picture, not a video", "give the video")
        films = [s for s in container.streams.video if not s.disposition & _NO_FILM]
        if not films:
            raise CohortError(path, "holds no video", REWRITE)
        best = container.streams.best("video")
        if best not in films:
            best = max(films, key=lambda stream: stream.width * stream.height)
        yield container, best


def decoded(path: Path, threads: int = 1) -> Iterator[tuple[float, av.VideoFrame]]:
    """Whole frames with their time in s since the first one, in the order of the decoder.

    The result does not depend on the number of threads: where something is broken, several threads
    give other frames than one, so that the file is decoded again from its start by one.

    Args:
        threads: of the decoder; 0 lets FFmpeg decide.
    """
    given = 0
    if threads != 1:
        for found in _frames(path, threads):
            if found is None:
                break
            yield found
            given += 1
        else:
            return
    yield from islice((found for found in _frames(path, 1) if found), given, None)


def _frames(path: Path, threads: int) -> Iterator[tuple[float, av.VideoFrame] | None]:
    """Each whole frame with its time; None where something is broken."""
    trust, first, timeless = _Trust(), None, False
    with open_film(path) as (container, stream):
        codec = stream.codec_context
        codec.thread_type, codec.thread_count = "AUTO", threads
        for packet in _packets(path, container, stream):
            trust.feed(packet)
            frames, whole = _decode(codec, packet)
            if not whole:
                trust.broken(packet)
                yield None
            if frames and first is None:
                # The first packets may be broken: the video starts with them all the same.
                shown = [frames[0].pts, *trust.waiting]
                known = [pts for pts in shown if pts is not None]
                first = float(min(known) * stream.time_base) if known else None
            for frame in frames:
                if not trust.good(frame):
                    yield None
                elif frame.pts is None or first is None:
                    timeless = True
                    yield None
                else:
                    yield float(frame.pts * stream.time_base) - first, frame
        if trust.waiting:  # of the last packets several threads do not tell that they are broken
            yield None
    if first is None:
        problem = "has frames without time stamps" if timeless else "has no frame that can be read"
        raise CohortError(path, problem, REWRITE)


def _decode(codec: av.VideoCodecContext, packet: av.Packet) -> tuple[list[av.VideoFrame], bool]:
    """Frames that a packet completes, of the empty one all that are left; was nothing broken?"""
    frames, whole = [], True
    while True:
        try:
            found = codec.decode(packet if packet.size else None)
        except av.EOFError:
            return frames, whole
        except av.FFmpegError:
            found, whole = [], False
        frames += found
        if packet.size or not found:
            return frames, whole


def _packets(path: Path, container, stream) -> Iterator[av.Packet]:
    """Packets up to the end of the file, or to where its structure is lost; then an empty one."""
    packets = container.demux(stream)
    while True:
        try:
            packet = next(packets)
        except StopIteration:
            return
        except av.FFmpegError as error:
            if isinstance(error, OSError) and not isinstance(error, ValueError | EOFError):
                problem = f"cannot be read to its end ({error.strerror})"
                raise CohortError(path, problem, "copy the file again") from None
            yield av.Packet()
            return
        yield packet


def listed(path: Path) -> Iterator[tuple[float, None]]:
    """As `decoded`, but fast: packets are read and not decoded, so that damage may be missed.

    Seen are packets that are not there, that the container calls corrupt, and that hold a stretch
    of zeros (a bad sector), which no packet of these codecs has.
    """
    first, spoiled, late, heap = None, False, None, []
    with open_film(path) as (container, stream):
        coded = stream.codec_context.name in _NO_ZEROS
        for packet in _packets(path, container, stream):
            at = packet.pts if packet.pts is not None else packet.dts
            if not packet.size or packet.is_discard or at is None:
                continue
            first = at if first is None else first
            broken = packet.is_corrupt or (coded and bytes(_ZEROS) in bytes(packet))
            spoiled = broken or (spoiled and not packet.is_keyframe)
            back = packet.dts is not None and late is not None and packet.dts < late
            late = packet.dts
            # Packets stand in the order of decoding, which differs by a few frames.
            while heap and (back or len(heap) > _REORDERED):
                yield float((heapq.heappop(heap) - first) * stream.time_base), None
            if not spoiled:
                heapq.heappush(heap, at)
        for at in sorted(heap):
            yield float((at - first) * stream.time_base), None


class _Trust:
    """Which frames are spoiled by broken packets."""

    def __init__(self) -> None:
        self.spoiled = False
        self.waiting: dict[int, tuple[bool, bool]] = {}
        """Of each packet whose frame was not shown yet, by its time: is it whole, and a key?"""

    def feed(self, packet: av.Packet) -> None:
        if not packet.size:
            return
        self.spoiled = packet.is_corrupt or (self.spoiled and not packet.is_keyframe)
        if packet.pts is not None and not packet.is_discard:
            self.waiting[packet.pts] = not self.spoiled, packet.is_keyframe
        if len(self.waiting) > _WAITING:
            del self.waiting[next(iter(self.waiting))]

    def broken(self, packet: av.Packet) -> None:
        self.spoiled = True
        self.waiting.pop(packet.pts, None)

    def good(self, frame: av.VideoFrame) -> bool:
        """Whether the frame is whole. One that is not spoils those that were decoded after it."""
        if frame.is_corrupt:
            at = list(self.waiting).index(frame.pts) if frame.pts in self.waiting else 0
            for pts in list(self.waiting)[at + 1 :]:
                if self.waiting[pts][1]:
                    break
                self.waiting[pts] = False, False
            else:
                self.spoiled = True
        whole, _ = self.waiting.pop(frame.pts, (not self.spoiled, False))
        return whole and not frame.is_corrupt


def glances(path: Path, n: int) -> Iterator[av.VideoFrame]:
    """Up to n frames, spread over the video; only its first one if it cannot be searched."""
    with open_film(path) as (container, stream):
        start, length = stream.start_time or 0, stream.duration
        if not length and container.duration:
            length = int(container.duration / av.time_base / stream.time_base)
        for k in range(n if length else 1):
            try:
                if k:
                    container.seek(int(start + length * k / n), stream=stream)
                frame = next(container.decode(stream), None)
            except (av.FFmpegError, OSError):
                continue
            if frame is not None and not frame.is_corrupt:
                yield frame


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
        lying = abs(a) + abs(d) < abs(b) + abs(c)
        height, width = self.size[::-1] if lying else self.size
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
            self.bits = self.bits or used_bits(self.path)
            picture = np.minimum(picture >> (self.bits - 8), 255).astype(np.uint8)
        if lying:
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


def used_bits(path: Path) -> int:
    """How many of 16 bits a grey video uses, from frames spread over it."""
    largest = max(int(frame.to_ndarray(format="gray16le").max()) for frame in glances(path, 16))
    return next(bits for bits in _DEPTHS if largest < 2**bits)
