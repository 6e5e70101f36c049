"""Videos for the tests of `predict`: a simulated sleeper, and what tells a frame in an output."""

import base64
import re
from pathlib import Path

import av
import numpy as np
from PIL import Image
from scipy.signal import fftconvolve

from sacd.simulate.cohort import simulate
from sacd.simulate.settings import SimulateConfig

REAL = Path(__file__).resolve().parents[3] / "shared" / "realdata" / "ir_bed_video"
TURNS = REAL / "Infrared_TEST_FULL_SEQUENCE_subject09_config1.mp4"


def sleeper(folder: Path, blocks: int = 1) -> tuple[Path, Path]:
    """Video and EEG of one simulated sleeper: blocks of 16 clips that follow each other."""
    root = simulate(folder / "cohort", SimulateConfig(n_subjects=1, blocks=blocks, seed=3))
    return next(root.rglob("*_video.mp4")), next(root.rglob("*_eeg.edf"))


def remade(video: Path, path: Path, codec: str, size: tuple[int, int]) -> Path:
    """The same film in another container, codec and size (width, height)."""
    with av.open(str(video)) as source, av.open(str(path), "w") as target:
        read = source.streams.video[0]
        stream = target.add_stream(codec, rate=read.average_rate)
        kind = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        stream.width, stream.height, stream.pix_fmt = *size, kind
        stream.bit_rate = 4_000_000
        for k, frame in enumerate(source.decode(read)):
            # `encode` brings it to the stream's size and format, faster than `frame.reformat`.
            frame.pts, frame.time_base = k, 1 / read.average_rate
            target.mux(stream.encode(frame))
        target.mux(stream.encode(None))
    return path


def cut(video: Path, path: Path, first: int, last: int) -> Path:
    """Frames first .. last - 1 of a film as a file of its own, pixel for pixel."""
    with av.open(str(video)) as source, av.open(str(path), "w") as target:
        read = source.streams.video[0]
        stream = target.add_stream("libx264", rate=read.average_rate, options={"qp": "0"})
        stream.width, stream.height, stream.pix_fmt = read.width, read.height, "yuv420p"
        for k, frame in enumerate(source.decode(read)):
            if first <= k < last:
                frame.pts, frame.time_base = k - first, 1 / read.average_rate
                target.mux(stream.encode(frame))
        target.mux(stream.encode(None))
    return path


def some_frames(video: Path, every: int = 100) -> list[np.ndarray]:
    """Some frames of a film, grey and 24 x 32."""
    with av.open(str(video)) as source:
        chosen = [f for k, f in enumerate(source.decode(video=0)) if k % every == 0]
        return [
            f.reformat(width=32, height=24, format="gray", interpolation="AREA").to_ndarray()
            for f in chosen
        ]


def pictures_in(folder: Path) -> list[np.ndarray]:
    """Every picture in the files of a folder, grey: files of their own and those inside pages."""
    found = []
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        data = path.read_bytes()
        inside = [base64.b64decode(x) for x in re.findall(rb"base64,([A-Za-z0-9+/=]+)", data)]
        for k, piece in enumerate([data, *inside]):
            if re.search(rb"\x89PNG\r\n|\xff\xd8\xff|GIF8|RIFF....WEBP|II\*\x00|ftyp", piece[:32]):
                scratch = folder.parent / f"{path.name}.{k}"
                scratch.write_bytes(piece)
                found.append(np.asarray(Image.open(scratch).convert("L"), float))
    return found


def likeness(picture: np.ndarray, frame: np.ndarray) -> float:
    """Largest correlation of a frame with any place of a picture, at sizes from 64 px on."""
    template = frame - frame.mean()
    template /= np.linalg.norm(template)
    best = 0.0
    image = _halved(picture)
    while min(image.shape) >= 32:
        total = fftconvolve(image, np.ones(frame.shape), "valid")
        squares = fftconvolve(image**2, np.ones(frame.shape), "valid")
        spread = np.sqrt(np.maximum(squares - total**2 / frame.size, 1.0))
        match = fftconvolve(image, template[::-1, ::-1], "valid") / spread
        best = max(best, float(np.where(spread > 30, match, 0).max()))
        image = _halved(image)
    return best


def _halved(image: np.ndarray) -> np.ndarray:
    height, width = (n // 2 for n in image.shape)
    return image[: 2 * height, : 2 * width].reshape(height, 2, width, 2).mean((1, 3))
