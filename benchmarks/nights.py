"""Nights for the benchmarks: a short H.264 video, repeated to any length without re-encoding."""

from pathlib import Path

import av
import numpy as np
import pandas as pd
from edfio import Edf, EdfSignal

from sacd.data.ingest import ingest
from sacd.data.store import StoreConfig
from sacd.files import write_json
from sacd.stages import CLIP_S

RATE = 25
"""frames/s."""


def write_night(
    root: Path, clips: int, size: tuple[int, int] = (240, 320), rate: int = RATE
) -> Path:
    """A cohort of one night of `clips` clips, all N2; EEG is noise, the video a moving blob."""
    subject, stem = "sub-01", "sub-01_task-sleep_"
    eeg, video = root / subject / "eeg", root / subject / "video"
    eeg.mkdir(parents=True)
    video.mkdir()
    write_json(root / "dataset_description.json", {"Name": "bench", "BIDSVersion": "1.10.0"})
    about = {"participant_id": subject, "sex": "F", "age": 50, "weight_kg": 70, "ahi": 10.0}
    pd.DataFrame([about]).to_csv(root / "participants.tsv", sep="\t", index=False)
    noise = np.random.default_rng(0).normal(0, 20, clips * CLIP_S * 128)
    signal = EdfSignal(
        noise, 128, label="EEG C3-M2", physical_dimension="uV", physical_range=(-250, 250)
    )
    Edf([signal], data_record_duration=CLIP_S).write(eeg / f"{stem}eeg.edf")
    events = {"onset": CLIP_S * np.arange(clips), "duration": CLIP_S, "trial_type": "N2"}
    pd.DataFrame(events).to_csv(eeg / f"{stem}events.tsv", sep="\t", index=False)
    piece = root / "piece.mp4"
    _encode(piece, 10 * rate, size, rate)
    _repeat(piece, video / f"{stem}video.mp4", clips * CLIP_S // 10)
    piece.unlink()
    return root


def empty_night(root: Path, clips: int, frames: int, size: tuple[int, int]) -> Path:
    """A clip store of one night with `frames` frames of `size` per clip, made by `ingest`."""
    cohort = write_night(root / "cohort", clips, (size[0] + size[0] % 2, size[1]), rate=4)
    ingest(cohort, root / "store", StoreConfig(height=size[0], width=size[1], frames=frames))
    return root / "store"


def _encode(path: Path, frames: int, size: tuple[int, int], rate: int) -> None:
    """Write a video that can be repeated: it starts with a key frame and has no B-frames."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[: size[0], : size[1]] / size[0]
    with av.open(str(path), "w") as container:
        options = {"preset": "veryfast", "bf": "0", "threads": "1"}
        stream = container.add_stream("libx264", rate=rate, options=options)
        stream.height, stream.width, stream.pix_fmt = *size, "yuv420p"
        for k in range(frames):
            blob = np.exp(-((x - 0.6 - 0.02 * np.sin(k / rate)) ** 2 + (y - 0.5) ** 2) * 20)
            picture = 60 + 120 * blob + rng.normal(0, 4, size)
            frame = av.VideoFrame.from_ndarray(picture.clip(0, 255).astype(np.uint8), format="gray")
            container.mux(stream.encode(frame.reformat(format="yuv420p")))
        container.mux(stream.encode(None))


def _repeat(piece: Path, path: Path, times: int) -> None:
    with av.open(str(path), "w") as output:
        stream, start = None, 0
        for _ in range(times):
            with av.open(str(piece)) as source:
                read = source.streams.video[0]
                stream = stream or output.add_stream_from_template(read)
                end = 0
                for packet in source.demux(read):
                    if packet.dts is None:
                        continue
                    end = max(end, packet.pts + packet.duration)
                    packet.pts += start
                    packet.dts += start
                    packet.stream = stream
                    output.mux(packet)
                start += end
