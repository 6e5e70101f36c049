"""The small file behind `50_explore`: test clips of a few runs with predictions and a map.

`explore.parquet` has one row per run and clip: run, subject, clip, block (of clips that follow each
other in time), stage, prediction, p_W ... (probabilities in %), ahi, x, y (map of Fig. 10), and
principal components of the embeddings (pc00 ..., float16) for maps of other perplexities. In the
rows of the first run, nights of a few subjects have their EEG and movement (`signals`), and a few
small frames where all sleepers are simulated; else the file has no column of frames.
"""

import base64
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from PIL import Image
from scipy.signal import resample_poly
from sklearn.decomposition import PCA

from sacd.analysis.auc import PROBABILITIES
from sacd.analysis.maps import PERPLEXITY, fit_map
from sacd.escape import counted
from sacd.files import write_parquet
from sacd.stages import AHI_COLOURS, AHI_GROUPS, CLIP_S, COLOURS, STAGES, ahi_group

FILE: Final = "tables/explore.parquet"
"""Under `results/<profile>/`."""
COMPONENTS: Final = 16
LARGEST: Final = 3000
"""Most clips per run in the file; beyond that, whole subjects are left out from the end."""
SIGNALLED: Final = 768
"""Most clips with signals, unless one night alone has more."""
RATE: Final = 32
"""Hz of the EEG in the file: spindles are in it, and 960 bytes hold a clip."""
EEG_STEP: Final = 2
"""uV of one step of the EEG."""
MOVEMENT_STEP: Final = 0.05
"""Grey levels of one step of the movement."""
FRAMES: Final = 4
"""Frames of a clip in the file, from its first to its last quarter."""
SHAPE: Final = (24, 32)
"""Rows and columns of such a frame."""
LEVELS: Final = 16
"""Grey levels of such a frame: two pixels share a byte, and 1,536 bytes hold a clip's frames."""
_ACROSS: Final = 64
"""Frames side by side in the one picture of all frames; a column of them would be too high."""
_TEXT: Final = ("run", "subject")
_CLIP: Final = ("clip", "block", "stage", "prediction")
_SIGNALS: Final = ("eeg", "movement")
_NEEDED: Final = frozenset([*_TEXT, *_CLIP, "p_W", "ahi", "x", "y", "pc00", *_SIGNALS])


def components(embedding: ArrayLike) -> tuple[pd.DataFrame, float]:
    """First principal components of embeddings `(n, d)`, and the share of variance they explain.

    The components are scaled together to at most 1, which float16 resolves well. A common scale
    leaves t-SNE unchanged.
    """
    embedding = np.asarray(embedding, np.float64)
    # The full solver has no random start: equal embeddings give equal bytes.
    pca = PCA(min(COMPONENTS, *embedding.shape), svd_solver="full")
    values = pca.fit_transform(embedding - embedding.mean(0))
    scale = np.abs(values).max() or 1.0
    names = [f"pc{k:02d}" for k in range(values.shape[1])]
    table = pd.DataFrame(values / scale, columns=names).astype(np.float16)
    return table, float(pca.explained_variance_ratio_.sum())


def clips_of(
    run: str, predictions: pd.DataFrame, embedding: ArrayLike, xy: ArrayLike, ahi: pd.Series
) -> pd.DataFrame:
    """Rows of one run.

    Args:
        run: its name in the menu, such as `SACD, seed 0`.
        predictions: one row per clip, as a run writes them.
        embedding, xy: `(n, d)` and `(n, 2)`, in the order of the predictions.
        ahi: events/h by subject.
    """
    percent = (100 * predictions[PROBABILITIES]).round().astype(np.uint8).reset_index(drop=True)
    # 16 bits are finer than a pixel of the map.
    xy = np.asarray(xy, np.float16)
    table = predictions[["subject", *_CLIP]].reset_index(drop=True)
    table = table.assign(run=run, ahi=ahi[table["subject"]].to_numpy(np.float32))
    table = table.assign(x=xy[:, 0], y=xy[:, 1])
    return pd.concat([table, percent, components(embedding)[0]], axis=1)


def write(tables: Sequence[pd.DataFrame], results: Path, signals: pd.DataFrame) -> Path:
    """Write the rows of all runs to `FILE` under `results`; equal tables give equal bytes.

    Args:
        tables: rows of each run, from `clips_of`.
        signals: of some clips, from the function of this name.
    """
    first = tables[0].merge(signals, "left", ["subject", "clip"], validate="1:1")
    # Signals stand once in the file: all runs show the same clips.
    table = pd.concat([first, *tables[1:]], ignore_index=True)
    sizes = tables[0].groupby("subject").size().sort_index()
    table = table[table["subject"].isin(sizes.index[_kept(sizes)])].reset_index(drop=True)
    small = {"clip": np.int32, "block": np.int32, "stage": np.int8, "prediction": np.int8}
    small |= dict.fromkeys(_TEXT, "category")
    path = Path(results) / FILE
    path.parent.mkdir(parents=True, exist_ok=True)
    write_parquet(path, table.astype(small))
    return path


def read(results: Path) -> pd.DataFrame:
    """Read the file under `results`.

    Raises:
        ValueError: the file is missing, or lacks a column.
    """
    path = Path(results) / FILE
    if not path.is_file():
        raise ValueError(f"{path} is missing; `make fig10` writes it")
    table = pd.read_parquet(path)
    if missing := _NEEDED - set(table):
        raise ValueError(
            f"{path} lacks {counted(len(missing), 'column')}: {', '.join(sorted(missing))}; "
            "`make fig10` writes it again"
        )
    return table.astype(dict.fromkeys(_TEXT, "str"))


def remap(table: pd.DataFrame, perplexity: float) -> pd.DataFrame:
    """The clips of one run, with x and y of a map of another perplexity."""
    if perplexity == PERPLEXITY:
        return table
    xy = np.asarray(fit_map(table.filter(regex=r"^pc\d\d$").astype(np.float64), perplexity))
    return table.assign(x=xy[:, 0], y=xy[:, 1])


def choose(
    table: pd.DataFrame, run: str, stages: Sequence[str] = STAGES, subject: str = ""
) -> pd.DataFrame:
    """Clips of a run with some true stages, of one subject or (if empty) of all."""
    rows = (table["run"] == run) & table["stage"].isin([STAGES.index(s) for s in stages])
    return table[rows & (table["subject"] == subject if subject else True)]


def with_signals(clips: pd.DataFrame, ahi: pd.Series) -> pd.DataFrame:
    """The clips whose signals the file holds: whole nights of subjects from low to high AHI.

    Args:
        clips: one row per test clip, with the column subject.
        ahi: events/h by subject.
    """
    sizes = clips.groupby("subject").size().sort_index()
    sizes = sizes[_kept(sizes)]
    count = max(1, min(len(sizes), SIGNALLED // int(sizes.max())))
    # By AHI, then by name, so that ties do not depend on the order of the file.
    ordered = sorted(sizes.index, key=lambda subject: (ahi[subject], subject))
    places = np.linspace(0, len(ordered) - 1, count).round().astype(int)
    return clips[clips["subject"].isin([ordered[place] for place in places])]


def signals(
    clips: pd.DataFrame,
    eeg: NDArray[np.float32],
    rate: int,
    video: NDArray[np.uint8],
    *,
    frames: bool,
) -> pd.DataFrame:
    """EEG, movement and frames of clips as bytes: subject, clip, eeg, movement, frames.

    `eeg` has int8 samples at `RATE` in steps of `EEG_STEP` uV. `movement` has uint8 steps of
    `MOVEMENT_STEP` grey levels: the mean change of a pixel from frame to frame. `frames` has
    `FRAMES` pictures of `SHAPE`, two pixels a byte; black and white are the darkest and brightest
    pixel of a clip.

    Args:
        clips: `(n)` rows with subject and clip.
        eeg: `(n, 30 * rate)` in uV.
        video: `(n, frames, height, width)`.
        frames: whether frames may be shown; if not, there is no such column.
    """
    lines = []
    for wave, film in zip(eeg, video, strict=True):
        # The polyphase filter keeps what lies above the new Nyquist frequency from aliasing.
        slow = resample_poly(wave.astype(np.float64), RATE, rate)
        change = np.abs(np.diff(film.astype(np.int16), axis=0)).mean(axis=(1, 2))
        small = np.clip(np.round(slow / EEG_STEP), -127, 127).astype(np.int8)
        moved = np.clip(np.round(change / MOVEMENT_STEP), 0, 255).astype(np.uint8)
        lines.append((small.tobytes(), moved.tobytes()))
    made = pd.DataFrame(lines, columns=list(_SIGNALS))
    if frames:
        made["frames"] = [_packed(film) for film in video]
    return pd.concat([clips[["subject", "clip"]].reset_index(drop=True), made], axis=1)


def left_out(table: pd.DataFrame, tested: int) -> str:
    """Why the file shows fewer than all tested subjects, in a sentence; empty if it shows all."""
    here = table["subject"].nunique()
    why = f"to stay small, the file holds at most {LARGEST:,} clips of a run, whole subjects"
    said = f"Shown are {here} of {tested} test subjects: {why} in the order of their names."
    return said if here < tested else ""


def payload(table: pd.DataFrame, data: str, note: str = "") -> dict[str, Any]:
    """What the interactive map needs, ready for JSON: arrays are in base64.

    Args:
        table: as `read` returns it; all runs show the same clips.
        data: name of the data.
        note: a sentence below it.
    """
    runs = {name: part.set_index(["subject", "clip"]) for name, part in table.groupby("run")}
    names = list(table["run"].unique())
    first = runs[names[0]]
    subjects = sorted(first.index.unique("subject"))
    number = {subject: k for k, subject in enumerate(subjects)}
    known = first["eeg"].notna().to_numpy()
    follows = first["block"].diff().eq(0) & first.index.to_frame()["clip"].diff().eq(1)
    ahi = first["ahi"].groupby(level="subject").first().loc[subjects]
    return {
        "data": data,
        "note": note,
        "stages": list(STAGES),
        "colours": [COLOURS[stage] for stage in STAGES],
        "groups": list(AHI_GROUPS),
        "groupColours": [AHI_COLOURS[group] for group in AHI_GROUPS],
        "subjects": subjects,
        "ahi": [round(float(value), 1) for value in ahi],
        "group": [ahi_group(value) for value in ahi],
        "subject": _base64(np.array([number[name] for name, _ in first.index], "<u2").tobytes()),
        "clip": _base64(first.index.get_level_values(1).to_numpy("<u2").tobytes()),
        "begins": _base64((~follows).to_numpy(np.uint8).tobytes()),
        "stage": _base64(first["stage"].to_numpy(np.uint8).tobytes()),
        "signal": _base64(np.where(known, known.cumsum() - 1, 65535).astype("<u2").tobytes()),
        "eeg": _base64(b"".join(first["eeg"][known])),
        "movement": _base64(b"".join(first["movement"][known])),
        "samples": RATE * CLIP_S,
        "step": EEG_STEP,
        "moved": MOVEMENT_STEP,
        "seconds": CLIP_S,
        "frames": _picture(first["frames"][known]) if "frames" in first else "",
        "perClip": FRAMES,
        "across": _ACROSS,
        "runs": [_map(name, runs[name].loc[first.index]) for name in names],
    }


def _map(name: str, clips: pd.DataFrame) -> dict[str, str]:
    """What one run says of the clips, in their order: place in its map, prediction, confidence."""
    xy = clips[["x", "y"]].to_numpy(np.float64)
    low, high = xy.min(0), xy.max(0)
    size = (high - low).max() or 1.0  # one scale for both axes, and the map in the middle
    unit = (xy - low + (size - (high - low)) / 2) / size
    return {
        "name": name,
        "xy": _base64(np.round(unit * 4095).astype("<u2").tobytes()),
        "prediction": _base64(clips["prediction"].to_numpy(np.uint8).tobytes()),
        "p": _base64(clips[PROBABILITIES].to_numpy(np.uint8).tobytes()),
    }


def _packed(film: NDArray[np.uint8]) -> bytes:
    """A few frames of a clip `(T, H, W)`, small and in `LEVELS` grey levels of its own range."""
    middles = (2 * np.arange(FRAMES) + 1) * len(film) // (2 * FRAMES)  # of its quarters
    small = np.stack([_small(film[k]) for k in middles]).astype(float)
    low, high = small.min(), small.max()
    grey = np.round((small - low) / (high - low or 1) * (LEVELS - 1)).astype(np.uint8).ravel()
    return (grey[::2] << 4 | grey[1::2]).tobytes()


def _small(frame: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A frame of `SHAPE`: each of its pixels is the mean of those that it covers."""
    if frame.shape == SHAPE:
        return frame
    return np.asarray(Image.fromarray(frame).resize(SHAPE[::-1], Image.Resampling.BOX))


def _picture(frames: pd.Series) -> str:
    """PNG in base64 of the frames of all clips, `_ACROSS` side by side, then the next row."""
    pairs = np.frombuffer(b"".join(frames), np.uint8)
    grey = np.stack([pairs >> 4, pairs & 15], 1).reshape(-1, *SHAPE)
    rows = -(-len(grey) // _ACROSS)
    cells = np.zeros((rows * _ACROSS, *SHAPE), np.uint8)
    cells[: len(grey)] = grey
    table = cells.reshape(rows, _ACROSS, *SHAPE).swapaxes(1, 2)
    image = Image.fromarray(table.reshape(rows * SHAPE[0], _ACROSS * SHAPE[1])).convert("P")
    image.putpalette(np.repeat(np.linspace(0, 255, LEVELS).astype(np.uint8), 3).tobytes())
    with io.BytesIO() as file:
        image.save(file, "png", bits=4, optimize=True)
        return _base64(file.getvalue())


def _base64(content: bytes) -> str:
    return base64.b64encode(content).decode("ascii")


def _kept(sizes: pd.Series) -> NDArray[np.bool_]:
    """Which subjects, sorted by name, the file holds; the first one always."""
    return np.asarray(sizes.cumsum() <= LARGEST) | (np.arange(len(sizes)) == 0)
