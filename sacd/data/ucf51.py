"""UCF51: the 51 classes of UCF101 whose videos have sound, split 1, as a store of arrays.

    <UCF101>/.../v_ApplyEyeMakeup_g01_c01.avi   class, group (videos of one person or place), clip

    <store>/frames.npy      (n, windows, frames, height, width, 3) uint8
    <store>/sound.npy       (n, 32000 * sound_s) int16
    <store>/videos.parquet  video, label, group, part; row k describes row k of the arrays
    <store>/manifest.json   config, code, classes, name, sources, dropped videos; written last

`sacd.data.ucf51_ingest` writes the store.

Source: Soomro et al. 2012, arXiv:1212.0402 (UCF101). The 51 classes are those of the audio features
of github.com/yanbeic/CCL (Chen et al., CVPR 2021).
"""

import re
from pathlib import Path
from typing import Annotated, Final

import numpy as np
import pandas as pd
from pydantic import Field

from sacd.config import Config
from sacd.data.problems import CohortError
from sacd.files import read_json

_NAMES: Final = """
    ApplyEyeMakeup ApplyLipstick Archery BabyCrawling BalanceBeam BandMarching BasketballDunk
    BlowDryHair BlowingCandles BodyWeightSquats Bowling BoxingPunchingBag BoxingSpeedBag
    BrushingTeeth CliffDiving CricketBowling CricketShot CuttingInKitchen FieldHockeyPenalty
    FloorGymnastics FrisbeeCatch FrontCrawl Haircut HammerThrow Hammering HandstandPushups
    HandstandWalking HeadMassage IceDancing Knitting LongJump MoppingFloor ParallelBars PlayingCello
    PlayingDaf PlayingDhol PlayingFlute PlayingSitar Rafting ShavingBeard Shotput SkyDiving
    SoccerPenalty StillRings SumoWrestling Surfing TableTennisShot Typing UnevenBars WallPushups
    WritingOnBoard
"""
CLASSES: Final = tuple(_NAMES.split())
"""In alphabetical order, as in CCL: the position of a class is its label."""
TEST_GROUPS: Final = range(1, 8)
"""Test groups of the official split 1; groups 8 to 25 are for training."""
WITHOUT_SOUND: Final = frozenset(
    [f"BasketballDunk_g15_c{k:02d}" for k in range(4, 8)]
    + [f"HandstandPushups_g14_c{k:02d}" for k in range(1, 5)]
)
"""Videos without an audio embedding in CCL's archive. As there, they are dropped: 6,837 of 6,845
videos remain."""
SOUND_RATE: Final = 32_000
"""Hz, mono: the input of the audio teacher."""
FORMAT: Final = 1
ABOUT: Final = "dataset_description.json"

_NAME = re.compile(r"v_(\w+)_g(\d\d)_c(\d\d)$")
# Files are named HandStandPushups, their folder HandstandPushups.
_CLASS_OF = {name.lower(): name for name in CLASSES}
_SUFFIXES = (".avi", ".mp4", ".mkv")
Size = Annotated[int, Field(ge=1)]


class Ucf51StoreConfig(Config):
    """What is kept of a video.

    `windows` windows of `frames` frames that are `stride` apart, each `height` x `width` pixels,
    and `sound_s` seconds of sound.
    """

    height: Size = 112
    width: Size = 112
    frames: Size = 16
    stride: Size = 1
    windows: Size = 4
    sound_s: Annotated[float, Field(ge=0.4)] = 10.0


def parse(stem: str) -> tuple[str, int, int] | None:
    """Class, group and clip of a video's name; None if its class is not one of the 51.

    Upper and lower case do not matter.

    >>> parse("v_HandStandPushups_g14_c01"), parse("v_YoYo_g01_c01")
    (('HandstandPushups', 14, 1), None)
    """
    found = _NAME.match(stem)
    name = _CLASS_OF.get(found[1].lower()) if found else None
    return (name, int(found[2]), int(found[3])) if name else None


def list_videos(names: list[str]) -> pd.DataFrame:
    """The videos of the 51 classes among file stems, sorted by name.

    Returns:
        `video` (class_gNN_cNN), `name` of the class, `group` (class_gNN), `part`, `stem`.
    """
    rows = []
    for stem in names:
        if known := parse(stem):
            group = f"{known[0]}_g{known[1]:02d}"
            part = "test" if known[1] in TEST_GROUPS else "train"
            rows.append((f"{group}_c{known[2]:02d}", known[0], group, part, stem))
    table = pd.DataFrame(rows, columns=["video", "name", "group", "part", "stem"])
    return table.sort_values("video", ignore_index=True)


def find_videos(root: Path) -> pd.DataFrame:
    """`list_videos` of a UCF101 folder and its subfolders, with the `path` of each video.

    Raises:
        CohortError: the folder is missing or holds no video of the 51 classes, a video is there
            twice, or a part of the split is empty.
    """
    fix = "say UCF101=/path/to/UCF-101, the folder that holds the class folders"
    if not Path(root).is_dir():
        raise CohortError(root, "no such folder", fix)
    files = {p.stem: p for p in sorted(Path(root).rglob("v_*")) if p.suffix.lower() in _SUFFIXES}
    table = list_videos(list(files))
    if table.empty:
        raise CohortError(root, "holds no video v_<class>_gNN_cNN of the 51 classes", fix)
    # A copy in another folder would count twice.
    if twice := table.loc[table["video"].duplicated(), "video"].tolist():
        raise CohortError(root, f"{twice[0]} is there twice", "keep one file of each video")
    for part, groups in (("train", "g08 to g25"), ("test", "g01 to g07")):
        if not (table["part"] == part).any():
            problem = f"holds no video to {part} (groups {groups} of split 1)"
            raise CohortError(root, problem, "add the missing files")
    return table.assign(path=table["stem"].map(files))


class Ucf51Store:
    """A finished store, read-only.

    Attributes:
        config, name: its settings and the name of the data.
        classes: the classes it holds, a subset of the 51.
        dropped: video -> why it was left out.
        fingerprint: identity of the data for runs.
        videos: `video`, `label` (position in `classes`), `group`, `part`.
        frames, sound: memory-mapped arrays; row k is that of `videos`.
    """

    def __init__(self, root: Path | str):
        self.root = Path(root)
        manifest = read_json(self.root / "manifest.json")
        if manifest.get("format") != FORMAT:
            problem = "is no UCF51 store, or its ingest did not finish"
            raise CohortError(self.root, problem, "run the ingest again")
        self.config = Ucf51StoreConfig(**manifest["config"])
        self.name: str = manifest["name"]
        self.classes: list[str] = manifest["classes"]
        self.dropped: dict[str, str] = manifest["dropped"]
        self.fingerprint: str = manifest["fingerprint"]
        self.videos = pd.read_parquet(self.root / "videos.parquet")
        self.frames = np.load(self.root / "frames.npy", mmap_mode="r", allow_pickle=False)
        self.sound = np.load(self.root / "sound.npy", mmap_mode="r", allow_pickle=False)
