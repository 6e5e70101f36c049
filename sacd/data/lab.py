"""`import-lab`: a sleep laboratory's folder becomes a cohort; its own files are never changed.

The folder holds EDF(+) recordings, scorings and videos in any order of folders; a table names the
subjects. Every night is read first. Those that can be used are written into a new folder, whole or
not at all.
"""

import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pandas as pd
from tqdm import tqdm

from sacd.data.cohort import read_cohort
from sacd.data.events import read_events
from sacd.data.lab_edf import copy_without_identity, patient
from sacd.data.lab_files import TEXT_SUFFIXES, cohort_name, files_of, read_subjects
from sacd.data.lab_plan import Asked, LabNight, plan
from sacd.data.problems import CohortError
from sacd.data.settings import with_settings
from sacd.data.store import StoreConfig
from sacd.data.twins import twins
from sacd.files import atomic_folder, write_json
from sacd.stages import CLIP_S, stage_name

REPORT = "import.tsv"
"""What was read, joined and dropped, and why; it names the lab's files."""
_COLUMNS = (
    "subject", "result", "eeg", "stages", "video", "clips", "ahi", "video_offset_s", "notes",
)  # fmt: skip


def import_lab(
    folder: Path,
    table: Path,
    out: Path,
    settings: Mapping[str, Any],
    name: str = "",
    zone: str = "",
    copy: bool = False,
    eeg_only: bool = False,
    dry_run: bool = False,
) -> pd.DataFrame:
    """Import a lab's folder.

    Recordings are copied without what identifies the patient. Videos are hard links where the
    file system allows it, else symbolic links: a night's video is too large to copy unasked.

    Args:
        folder: the lab's folder; read only.
        table: CSV or TSV with one row per night, see `sacd.data.lab_files.COLUMNS`.
        out: folder of the cohort; must not exist.
        settings: that the cohort shall state, see `sacd.data.settings`. Recordings are opened with
            its channel and rate, else with those of `StoreConfig`.
        name: of the cohort; default: that of `out`.
        zone: IANA name of the lab's time zone, for times with an offset from UTC.
        copy: copy the videos instead of linking them.
        eeg_only: keep nights without a video. A cohort for staging by video must have them all.
        dry_run: write nothing.

    Returns:
        One row per subject: what was read and joined, or why it was dropped.

    Raises:
        CohortError: the folder or the table cannot be used, `out` exists, or no night is left.
    """
    folder, table, out = Path(folder), Path(table), Path(out)
    _refuse_places(folder, out)
    try:
        lab_zone = ZoneInfo(zone) if zone else None
    except (KeyError, ValueError, OSError):  # not known, no name of a zone, or a folder of zones
        raise CohortError(zone, "is no time zone", "say it as Europe/Paris") from None
    subjects = read_subjects(table)
    files = [path for path in files_of(folder) if path.resolve() != table.resolve()]
    config = StoreConfig(height=1, width=1, frames=1)  # the size of pictures is a profile's
    config = with_settings(config, out, settings)
    names = subjects["subject"].tolist()
    asked = Asked(folder, files, names, config.channel, config.eeg_rate, lab_zone, eeg_only)
    nights: list[LabNight] = []
    rows = []
    for row in subjects.to_dict("records"):
        try:
            night = plan(row, asked)
        except CohortError as problem:
            rows.append((row["subject"], "dropped", *[""] * 6, str(problem)))
        else:
            # Nothing is written yet: a fault in the last row must leave no half cohort.
            nights.append(night)
            rows.append((row["subject"], "imported", *_told(night, folder)))
    nights, shared = _each_its_own(nights)
    for k, row in enumerate(rows):
        if problem := shared.get(cohort_name(row[0])):
            rows[k] = (row[0], "dropped", *[""] * 6, str(problem))
    report = pd.DataFrame(rows, columns=list(_COLUMNS))
    same = _same_person(nights)
    report["notes"] += report["subject"].map(lambda name: same.get(cohort_name(name), ""))
    if dry_run:
        return report
    if not nights:
        raise CohortError(folder, "no night can be imported", f"first: {rows[0][-1]}")
    with atomic_folder(out) as partial:
        for night in tqdm(nights, desc="import", unit="night", disable=None):
            _write(night, partial, copy)
        _about(partial, nights, name or out.name, settings, report)
        if not eeg_only:
            read_cohort(partial)  # raises if the contract would refuse it
        if out.exists():  # `atomic_folder` would replace it
            raise CohortError(out, "was made meanwhile", "give a folder that is new")
    return report


def _refuse_places(folder: Path, out: Path) -> None:
    """Raise CohortError if there is nothing to read, or something would be written over."""
    if not folder.is_dir():
        raise CohortError(folder, "is not a folder", "give the lab's folder")
    if out.exists() or out.is_symlink():  # a broken link does not exist and is there
        raise CohortError(out, "exists, and nothing is overwritten", "give a folder that is new")
    if out.resolve().is_relative_to(folder.resolve()):
        raise CohortError(out, "lies in the lab's folder", "give a folder outside of it")


def _each_its_own(nights: list[LabNight]) -> tuple[list[LabNight], dict[str, CohortError]]:
    """Nights with files of their own, and why the others are dropped.

    Which of two nights a file belongs to nobody knows here, so that both are dropped.
    """
    owners: dict[Path, list[str]] = {}
    for night in nights:
        for path in dict.fromkeys((night.eeg.path, night.video, night.scored_in)):
            if path is not None:
                owners.setdefault(path, []).append(night.name)
    same = [(path, path) for path, names in owners.items() if len(names) > 1]
    recordings = [path for path in owners if path.suffix.lower() not in TEXT_SUFFIXES]
    shared: dict[str, CohortError] = {}
    for one, other in [*same, *twins(recordings)]:
        names = [*dict.fromkeys((*owners[one], *owners[other]))]
        for name in names:
            problem = f"is the same as {other.name}, and both are" if one != other else "is"
            problem += f" of {' and '.join(names)}"
            shared.setdefault(name, CohortError(one, problem, "give each night its own file"))
    return [night for night in nights if night.name not in shared], shared


def _same_person(nights: list[LabNight]) -> dict[str, str]:
    """A note for each night whose EDF header names the patient of another one.

    The patient is not told: the table of the import goes with the cohort.
    """
    people: dict[str, list[str]] = {}
    for night in nights:
        if text := patient(night.eeg.path):
            people.setdefault(text, []).append(night.name)
    return {
        name: f"; one patient by the EDF headers: {', '.join(names)} (if so, keep one night: they"
        " count as several subjects, in training and in test)"
        for names in people.values()
        if len(names) > 1
        for name in names
    }


def _told(night: LabNight, folder: Path) -> tuple:
    """The cells of an imported night from `eeg` on."""
    paths = (night.eeg.path, night.scored_in, night.video)
    names = [_short(path, folder) if path else "" for path in paths]
    offset = f"{night.offset_s:g}" if night.video else ""
    notes = (f"stages: {night.scoring.coding}", *night.notes)
    return (*names, night.scored, f"{night.ahi:.1f}", offset, "; ".join(notes))


def _short(path: Path, folder: Path) -> str:
    return (path.relative_to(folder) if path.is_relative_to(folder) else path).as_posix()


def _write(night: LabNight, root: Path, copy: bool) -> None:
    stem = f"{night.name}_task-sleep"
    recording, film = root / night.name / "eeg", root / night.name / "video"
    recording.mkdir(parents=True)
    copy_without_identity(night.eeg, recording / f"{stem}_eeg.edf")
    events = recording / f"{stem}_events.tsv"
    rows = [(onset, float(CLIP_S), stage_name(stage)) for onset, stage in night.scoring.stages]
    table = pd.DataFrame(
        [*rows, *night.scoring.events], columns=["onset", "duration", "trial_type"]
    )
    # Milliseconds: far finer than clock times of scorers, and no digits of rounding.
    table = table.round(3).sort_values("onset", kind="stable")
    table.to_csv(events, sep="\t", index=False)
    read_events(events)  # raises if the contract would refuse it
    if night.video:
        film.mkdir()
        target = film / f"{stem}_video{night.video.suffix.lower()}"
        _place(night.video.resolve(), target, copy)
        write_json(target.with_suffix(".json"), {"StartOffset": round(night.offset_s, 3)})


def _place(source: Path, target: Path, copy: bool) -> None:
    if copy:
        shutil.copyfile(source, target)
        return
    try:
        os.link(source, target)
    except OSError:  # another file system, or one without hard links
        target.symlink_to(source)


def _about(
    root: Path, nights: list[LabNight], name: str, settings: Mapping[str, Any], report: pd.DataFrame
) -> None:
    columns = ["participant_id", "sex", "age", "weight_kg", "ahi"]
    rows = [(n.name, n.sex, n.age, n.weight_kg, round(n.ahi, 2)) for n in nights]
    participants = pd.DataFrame(rows, columns=columns)
    participants.to_csv(root / "participants.tsv", sep="\t", index=False)
    report.to_csv(root / REPORT, sep="\t", index=False)
    description = {
        "Name": name,
        "BIDSVersion": "1.10.0",
        "DatasetType": "raw",
        "GeneratedBy": [{"Name": "sacd import-lab"}],
        "Settings": dict(settings),
    }
    write_json(root / "dataset_description.json", description)
