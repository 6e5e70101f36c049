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
from av.stream import Disposition

from sacd.data.problems import CohortError

REWRITE = "re-encode it, for example `ffmpeg -i in -c:v libx264 -an out.mp4`"
_NO_FILM = Disposition.attached_pic | Disposition.still_image | Disposition.timed_thumbnails
_WAITING = 512
"""Packets remembered until their frame is shown; decoders reorder far fewer."""
_NO_ZEROS = ("h264", "hevc", "mpeg4", "mpeg2video", "mjpeg", "vp8", "vp9", "av1")
"""Codecs whose packets hold no long run of zeros: their data are entropy coded."""
_ZEROS = 32
"""Zeros in a row, in bytes, from which on a packet of these codecs is damaged."""
_REORDERED = 16
"""Packets by which the orders of decoding and of showing differ at most; H.264 allows 16."""
_AVI_HEADER = 8
"""Bytes of a packet's header in an AVI, where its index points to."""


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
        known = films(container)
        if not known:
            raise CohortError(path, "holds no video", REWRITE)
        # A picture among videos is a cover, whatever the file calls it.
        known = [stream for stream in known if stream.frames != 1] or known
        best = container.streams.best("video")
        if best not in known:
            best = max(known, key=lambda stream: stream.width * stream.height)
        yield container, best


def films(container: av.container.InputContainer) -> list[av.VideoStream]:
    """Videos of a file, without its cover pictures."""
    return [s for s in container.streams.video if not s.disposition & _NO_FILM]


def decoded(path: Path, threads: int = 1) -> Iterator[tuple[float, av.VideoFrame]]:
    """Whole frames with their time in s since the first one, in the order of the decoder.

    The result does not depend on the number of threads: where something is broken, several threads
    give other frames than one, so that the file is decoded again from its start by one.

    Args:
        threads: of the decoder; 0 lets FFmpeg decide.
    """
    given = 0  # frames yielded before the damage; one thread gives the same ones up to there
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
        for packet, unbroken in _packets(path, container, stream):
            trust.feed(packet, unbroken)
            frames, whole = _decode(codec, packet)
            if not whole:
                trust.broken(packet)
                yield None
            if frames and first is None:
                # The first packets may be broken: the video starts with them all the same.
                known = [pts for pts in (frames[0].pts, trust.start) if pts is not None]
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


def _packets(path: Path, container, stream) -> Iterator[tuple[av.Packet, bool]]:
    """Packets up to the end of the file, or to where its structure is lost; then an empty one.

    Yields also whether the packet is whole, and so is what lies between it and the one before.

    AVI holds no times: packets are counted, and of a damaged file all later times were too early.
    Its index tells the true number of each packet.
    """
    index, shift = {}, 0
    if container.format.name == "avi":
        index = {entry.pos + _AVI_HEADER: entry.timestamp for entry in stream.index_entries}
    packets = container.demux(stream)
    while True:
        try:
            packet = next(packets)
        except StopIteration:
            return
        except av.FFmpegError as error:
            # A disk's error is an OSError alone; PyAV's error of invalid data is a ValueError too.
            if isinstance(error, OSError) and not isinstance(error, ValueError | EOFError):
                problem = f"cannot be read to its end ({error.strerror})"
                raise CohortError(path, problem, "copy the file again") from None
            yield av.Packet(), True  # the empty packet that flushes the decoder
            return
        whole = not packet.is_corrupt
        if packet.dts is None:  # the empty packet at the end of the file
            yield packet, whole
        elif packet.size:  # an empty one repeats the frame before
            number = index.get(packet.pos, packet.dts + shift)
            whole = whole and number == packet.dts + shift
            shift = number - packet.dts
            packet.dts += shift
            if packet.pts is not None:
                packet.pts += shift
            yield packet, whole


def listed(path: Path) -> Iterator[tuple[float, None]]:
    """As `decoded`, but fast: packets are read and not decoded, so that damage may be missed.

    Seen are packets that are not there, that the container calls corrupt, and that hold a stretch
    of zeros (a bad sector), which no packet of these codecs has.
    """
    first, spoiled, late, heap = None, False, None, []
    with open_film(path) as (container, stream):
        coded = stream.codec_context.name in _NO_ZEROS
        for packet, unbroken in _packets(path, container, stream):
            # AVI states times of decoding alone.
            at = packet.pts if packet.pts is not None else packet.dts
            if not packet.size or packet.is_discard or at is None:
                continue
            first = at if first is None else first
            data = bytes(packet)
            zeros = not any(data) or bytes(_ZEROS) in data
            broken = not unbroken or (coded and zeros)
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


def first_stamps(path: Path) -> list[float]:
    """Time stamps in s of the first packets, of broken ones too, in the order of the file."""
    with open_film(path) as (container, stream):
        packets = (p for p, _ in _packets(path, container, stream) if p.size and not p.is_discard)
        times = [p.pts if p.pts is not None else p.dts for p in islice(packets, 2 * _REORDERED)]
        return [float(at * stream.time_base) for at in times if at is not None]


class _Trust:
    """Which frames are spoiled by broken packets."""

    def __init__(self) -> None:
        self.spoiled = False
        self.start: int | None = None
        """Earliest time of a packet."""
        self.waiting: dict[int, tuple[bool, bool]] = {}
        """Of each packet whose frame was not shown yet, by its time: is it whole, and a key?"""

    def feed(self, packet: av.Packet, whole: bool) -> None:
        if not packet.size:
            return
        if not whole and packet.is_keyframe and not packet.is_corrupt:
            whole = True  # what is lost lies before it
        self.spoiled = not whole or (self.spoiled and not packet.is_keyframe)
        if packet.pts is not None and not packet.is_discard:
            self.waiting[packet.pts] = not self.spoiled, packet.is_keyframe
            self.start = packet.pts if self.start is None else min(self.start, packet.pts)
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
