"""What an import makes of one subject: its files, read and joined, or why it is dropped."""

import math
from dataclasses import dataclass, replace
from datetime import datetime, time
from pathlib import Path
from zoneinfo import ZoneInfo

from sacd.data.cohort import LIMITS, measure
from sacd.data.edf import NOTES, EdfFile, read_header
from sacd.data.eeg import open_channel, refuse_slow
from sacd.data.lab_edf import is_hypnogram
from sacd.data.lab_files import JOIN, Candidates, candidates, cohort_name, named, one, only_video
from sacd.data.lab_notes import DAY_S, Scoring, ahi_of, moment
from sacd.data.lab_offset import offset_of
from sacd.data.lab_scoring import read_scoring
from sacd.data.problems import CohortError
from sacd.data.video import probe
from sacd.stages import CLIP_S, UNSCORED

_MANY = 20
"""So many epochs hardly fit another length of epochs by chance."""


@dataclass(frozen=True)
class LabNight:
    """One night that can be imported: files of the lab, and what goes into the cohort's tables."""

    name: str
    eeg: EdfFile
    scoring: Scoring
    scored_in: Path
    video: Path | None
    offset_s: float
    sex: str
    age: str
    weight_kg: str
    ahi: float
    notes: tuple[str, ...]
    """What was assumed and what was left out."""

    @property
    def scored(self) -> int:
        """Clips with a stage."""
        return sum(stage != UNSCORED for _, stage in self.scoring.stages)


@dataclass(frozen=True)
class Asked:
    """What the import was told: the lab's folder, its subjects, the EEG, the time zone."""

    folder: Path
    files: list[Path]
    subjects: list[str]
    channel: str
    eeg_rate: int
    zone: ZoneInfo | None
    eeg_only: bool


def plan(row: dict[str, str], asked: Asked) -> LabNight:
    """Read all that belongs to one row of the table of subjects; nothing is written.

    Raises:
        CohortError: why this night is dropped.
    """
    found = candidates(row["subject"], asked.subjects, asked.files, asked.folder)
    headers: dict[Path, EdfFile] = {}
    broken = list(found.shared)
    for path in found.edf:
        try:
            headers[path] = read_header(path)
        except CohortError as problem:  # the night may do without this file
            broken.append(problem)
    header = _recording(row, headers, broken, asked)
    channel = open_channel(header.path, asked.channel)
    refuse_slow(channel, asked.eeg_rate)
    seconds = channel.end_s
    start = _start(row, header)
    hypnograms = [path for path, head in headers.items() if is_hypnogram(head)]
    scoring, source, notes = _scoring(row, [*hypnograms, *found.texts], header, start, asked)
    promised = max(seconds, header.promised * header.record_s)  # of a file that was cut
    _refuse_length(scoring, source, promised, start)
    scoring, lost = _within(scoring, seconds)
    if lost:
        notes.append(f"{lost} clips after the end of the EEG")
    notes += [_unused(problem) for problem in broken]
    notes += [f"{n} {what}" for what, n in scoring.left_out.items()]
    if scoring.counted:
        notes.append("stages have no times: their first epoch is taken to start with the EEG")
    if all(stage == UNSCORED for _, stage in scoring.stages):
        raise CohortError(source, "scores no clip of the EEG", "count onsets from its start")
    ahi = _ahi(row, scoring, source, notes)
    video, offset = _video(row, found, broken, asked), 0.0
    for path in found.videos:
        if video is not None and path.resolve() != video.resolve():
            notes.append(f"not used: {path.name} (another video of the subject: {JOIN})")
    if video is not None:
        offset, said = offset_of(row, video, header.path, start, asked.zone)
        notes += said
        _covers(scoring, video, offset, seconds)
    return LabNight(
        name=cohort_name(row["subject"]),
        eeg=header,
        scoring=scoring,
        scored_in=source,
        video=video,
        offset_s=offset,
        sex=row["sex"] or "n/a",
        age=_cell(row, "age"),
        weight_kg=_cell(row, "weight_kg"),
        ahi=ahi,
        notes=tuple(notes),
    )


def _recording(
    row: dict[str, str], headers: dict[Path, EdfFile], broken: list[CohortError], asked: Asked
) -> EdfFile:
    """Header of the EEG: of the file that the table names, else of the only recording."""
    eeg = named(row["eeg"], asked.folder, "eeg")
    if eeg is None:
        recordings = tuple(path for path, head in headers.items() if not is_hypnogram(head))
        if broken and not recordings:
            raise broken[0]  # says more than "there is none"
        eeg = one(recordings, "EEG recording", "eeg", asked.folder)
    return headers.get(eeg) or read_header(eeg)


def _video(
    row: dict[str, str], found: Candidates, broken: list[CohortError], asked: Asked
) -> Path | None:
    """The video that the table names, else the only one; None if a night may have none."""
    video = named(row["video"], asked.folder, "video")
    if video is None and (found.videos or not asked.eeg_only):
        if broken and not found.videos:
            raise broken[0]
        video = only_video(found, asked.folder)
    return video


def _ahi(row: dict[str, str], scoring: Scoring, source: Path, notes: list[str]) -> float:
    """The AHI of the table, else that of the scored events."""
    ahi = _number(row, "ahi")
    if math.isnan(ahi):
        ahi = ahi_of(scoring)
        notes.append("AHI from the events")
    if math.isnan(ahi):
        problem = "has no apnea or hypopnea: none happened, or nobody scored them"
        raise CohortError(source, problem, "give the column ahi")
    return ahi


def _cell(row: dict[str, str], column: str) -> str:
    """A number as it stands in participants.tsv."""
    # Privacy rules write `89+` or `>89` for the oldest.
    value = _number(row | {column: row[column].strip(">+ ")}, column)
    return "n/a" if math.isnan(value) else f"{value:g}"


def _number(row: dict[str, str], column: str) -> float:
    text = row[column]
    value = measure(column, text.replace(",", "."))
    if value is None:
        problem = f"{column} {text!r} is not a number from 0 to {LIMITS[column]}"
        raise CohortError(row["subject"], problem, "correct it in the table, or leave it empty")
    return value


def _start(row: dict[str, str], header: EdfFile) -> datetime:
    """Start of the EEG: the column eeg_start, else the header, else the first second of 1985."""
    blank = datetime(1985, 1, 1)  # EDF's own date for "not known"
    if not row["eeg_start"]:
        return header.start or blank
    try:
        given = moment(row["eeg_start"])
    except ValueError:
        problem = f"eeg_start {row['eeg_start']!r} is no time"
        raise CohortError(header.path, problem, "write 2024-03-01T22:00:00 or 22:00:00") from None
    if isinstance(given, time):
        return datetime.combine((header.stated or blank).date(), given)
    return given.replace(tzinfo=None)


def _scoring(
    row: dict[str, str], files: list[Path], header: EdfFile, start: datetime, asked: Asked
) -> tuple[Scoring, Path, list[str]]:
    """Stages and events of a night, the file with the stages, and what was not used.

    Stages: the file that the table names, else the only file with stages, else the annotations of
    the recording. Events: the file that the table names, else that of the stages, else others.
    """
    eeg = header.path
    # Annotations of the recording count from its own start, whatever the table says.
    starts = {eeg: None}
    found: dict[Path, Scoring] = {}
    problems: list[CohortError] = []

    def attempt(path: Path) -> None:
        try:
            found[path] = read_scoring(path, starts.get(path, start))
        except CohortError as problem:
            problems.append(problem)

    chosen = named(row["stages"], asked.folder, "stages")
    extra = named(row["events"], asked.folder, "events")
    if chosen:
        found[chosen] = read_scoring(chosen, starts.get(chosen, start))
    for path in () if chosen and extra else files:
        if path not in (eeg, chosen, extra):
            attempt(path)
    staged = tuple(path for path, scoring in found.items() if scoring.stages)
    # Annotations of the recording count only where no other file has stages.
    if eeg != chosen and NOTES in header.labels:
        attempt(eeg)
    if chosen is None and not staged and eeg in found and found[eeg].stages:
        chosen = eeg
    if chosen is None:
        if not staged and problems:
            raise problems[0]  # says more than "there is none"
        chosen = one(staged, "scoring", "stages", asked.folder)
    scoring = found[chosen]
    if not scoring.stages:
        raise CohortError(chosen, "holds no stage", "correct the column stages of the table")
    events = read_scoring(extra, starts.get(extra, start)).events if extra else scoring.events
    # Some labs export stages and events to two files.
    if not events:
        events = sorted({event for other in found.values() for event in other.events})
    return replace(scoring, events=events), chosen, [_unused(problem) for problem in problems]


def _unused(problem: CohortError) -> str:
    return f"not used: {Path(problem.file).name} ({problem.problem})"


def _within(scoring: Scoring, seconds: float) -> tuple[Scoring, int]:
    """The scoring without clips that end after the EEG, and their number."""
    # Half a second, as scorers' times are often whole seconds.
    kept = [(onset, stage) for onset, stage in scoring.stages if onset + CLIP_S <= seconds + 0.5]
    return replace(scoring, stages=kept), len(scoring.stages) - len(kept)


def _refuse_length(scoring: Scoring, source: Path, seconds: float, start: datetime) -> None:
    """Raise CohortError if the stages must have other times than those that they seem to have."""
    _, beyond = _within(scoring, seconds)
    n = len(scoring.stages)
    if scoring.counted and n:
        # Epochs of 20 s are more than the EEG has of 30 s; half as many may be of 60 s.
        last = round(scoring.stages[-1][0] / CLIP_S) + 1
        halves = last >= _MANY and abs(last * 2 * CLIP_S - seconds) <= 2 * CLIP_S
        if last > seconds // CLIP_S + 1 or halves:  # the last one may be a rest
            problem = f"numbers {last} epochs, and the EEG of {seconds:g} s has"
            problem += (
                f" {seconds / CLIP_S:.4g} of {CLIP_S} s: do they last {seconds / last:.3g} s?"
            )
            raise CohortError(source, problem, f"score in epochs of {CLIP_S} s, or write onsets")
    # 00:05:00 is a clock time, or five minutes after the start of the EEG.
    midnight = start.hour * 3600 + start.minute * 60 + start.second - DAY_S
    elapsed = [onset + midnight for onset, _ in scoring.stages]
    if beyond and elapsed[0] >= 0 and elapsed[-1] + CLIP_S <= seconds + 0.5:
        problem = f"has {beyond} of {n} clips after the end of the EEG, if its times are clock"
        problem += " times; counted from the start of the EEG, all lie within"
        raise CohortError(source, problem, "write times in s from the start of the EEG")
    if beyond > n / 2:
        problem = f"has {beyond} of {n} clips after the end of the EEG ({seconds:g} s)"
        raise CohortError(source, problem, "write times in s from the start of the EEG")


def _covers(scoring: Scoring, video: Path, offset: float, seconds: float) -> None:
    """Raise CohortError unless the video shows a scored clip."""
    info = probe(video)
    # Without a stated duration the night's end is assumed; `check` reads the video itself.
    length = info.duration_s if not math.isnan(info.duration_s) else seconds
    stages = scoring.stages
    seen = [o for o, s in stages if s != UNSCORED and offset <= o + 1 and o + 29 <= offset + length]
    if not seen:
        shown = f"it runs from {offset:g} to {offset + length:g} s of the EEG ({seconds:g} s)"
        far = " (other dates?)" if abs(offset) > DAY_S else ""
        fix = "give video_start, eeg_start or video_offset_s"
        raise CohortError(video, f"{shown}{far} and shows no scored clip", fix)
