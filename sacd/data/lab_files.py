"""Which files of a lab's folder belong to which subject: the table of subjects, and names."""

import re
import unicodedata
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from sacd.data.cohort import VIDEO_SUFFIXES
from sacd.data.problems import CohortError
from sacd.data.texts import MISSING, numbered_lines, read_text, rows_below, split_fields

EDF_SUFFIXES = (".edf", ".rec")
TEXT_SUFFIXES = (".csv", ".tsv", ".txt", ".xml", ".rml")
COLUMNS = (
    "subject", "ahi", "sex", "age", "weight_kg", "eeg", "stages", "events", "video", "eeg_start",
    "video_start", "video_offset_s",
)  # fmt: skip
"""Columns of the table; the first is needed."""

JOIN = (
    "join the parts of a night first, in their order and if no time is missing between them "
    "(ffmpeg -f concat -i parts.txt -c copy night.mkv)"
)
"""What to do with the parts of a video. Joined over a gap, all frames after it would come early."""

STAMP = re.compile(
    r"(?<!\d)(20\d\d)[-_.]?(\d\d)[-_.]?(\d\d)"
    r"(?:[T _-]*(\d\d)[-_.:h]?(\d\d)(?:[-_.:m]?(\d\d))?)?(?!\d)"
)
"""Date in a name, with the time of day as cameras write it: 20240301_220005, 20240301220005."""


@dataclass(frozen=True)
class Candidates:
    """Files of one subject; `edf` are recordings and hypnograms alike.

    `shared` are those that may as well be another subject's.
    """

    edf: tuple[Path, ...]
    texts: tuple[Path, ...]
    videos: tuple[Path, ...]
    shared: tuple[CohortError, ...]


def read_subjects(path: Path) -> pd.DataFrame:
    """The table of subjects as text, one row each; cells that are empty or `n/a` are empty.

    Raises:
        CohortError: it cannot be read, lacks the column `subject`, has a column that is not known,
            a line with another number of fields than the header, or a subject twice.
    """
    lines = numbered_lines(read_text(path)[0])
    if not lines:
        raise CohortError(path, "cannot be read as a table (it is empty)", "save it as CSV")
    if re.fullmatch("sep=.", lines[0][1].strip(), re.IGNORECASE):  # Excel's
        del lines[0]
    number, first = lines[0] if lines else (1, "")
    # A semicolon separates where the comma is the decimal mark; the header has no numbers.
    mark = max("\t;,", key=first.count)
    header = [name.lower() for name in split_fields(path, number, first, mark)]
    while header and not header[-1]:
        header.pop()
    if twice := [name for name in header if header.count(name) > 1]:
        raise CohortError(path, f"has the column {twice[0]!r} twice", "keep one, or rename it")
    table = pd.DataFrame(rows_below(path, header, lines[1:], mark), columns=header, dtype=str)
    table = table.map(lambda cell: "" if cell.lower() in MISSING else cell)
    if "participant_id" in table and "subject" not in table:
        table = table.rename(columns={"participant_id": "subject"})
    known = ", ".join(COLUMNS)
    if "subject" not in table:
        found = ", ".join(table.columns)
        raise CohortError(path, f"lacks the column subject (it has: {found})", f"known: {known}")
    if strange := [name for name in table.columns if name not in COLUMNS]:
        fix = f"remove or rename it; known are {known}"
        raise CohortError(path, f"has the column {strange[0]!r}, which is not known", fix)
    table = table[table["subject"] != ""].reset_index(drop=True)
    if table.empty:
        raise CohortError(path, "names no subject", "write one row per subject")
    # Two names may become one: BIDS allows letters and digits alone.
    names = table["subject"].map(cohort_name)
    if (bad := names == "sub-").any():
        which = table["subject"][bad].iloc[0]
        raise CohortError(path, f"subject {which!r} has no letter or digit", "rename it")
    if names.duplicated().any():
        which = names[names.duplicated()].iloc[0]
        fix = "give every night a name of its own, letters and digits"
        raise CohortError(path, f"has two rows that become {which}", fix)
    for column in COLUMNS:
        if column not in table:
            table[column] = ""
    return table[list(COLUMNS)]


def cohort_name(subject: str) -> str:
    """Name in the cohort: letters and digits alone, as BIDS wants it.

    >>> cohort_name("Lab 7_a"), cohort_name("sub-01")
    ('sub-Lab7a', 'sub-01')
    """
    return "sub-" + re.sub(r"[^A-Za-z0-9]", "", subject.removeprefix("sub-"))


def files_of(folder: Path) -> list[Path]:
    """All files below a folder that may belong to a night, sorted; hidden ones are left out."""
    known = (*EDF_SUFFIXES, *TEXT_SUFFIXES, *VIDEO_SUFFIXES)
    found = []
    for path in sorted(folder.rglob("*")):
        hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
        if path.suffix.lower() in known and not hidden and path.is_file():
            found.append(path)
    return found


def belongs(path: Path, folder: Path, subject: str) -> bool:
    """Whether the name of a file, or of a folder that it lies in, contains a subject's name.

    Neither a digit may touch a digit nor a letter a letter: `7` is in `lab7_psg`, not in `lab17`.
    Dates do not count: `01` is not in `lab_2024-03-01`.

    >>> [belongs(Path("a", n), Path("a"), "SC4001") for n in ("SC4001E0-PSG.edf", "SC40012.edf")]
    [True, False]
    """
    # macOS writes an accented letter as a letter and its accent.
    subject = unicodedata.normalize("NFC", subject)
    first = r"(?<!\d)" if subject[0].isdigit() else r"(?<![^\W\d_])"
    last = r"(?!\d)" if subject[-1].isdigit() else r"(?![^\W\d_])"
    text = unicodedata.normalize("NFC", path.relative_to(folder).as_posix())
    if not STAMP.search(subject):
        text = STAMP.sub("#", text)
    return re.search(first + re.escape(subject) + last, text, re.IGNORECASE) is not None


def candidates(subject: str, others: list[str], files: list[Path], folder: Path) -> Candidates:
    """Files of one subject by name; the table names the file where several fit.

    Args:
        others: all names of the table. A file whose name contains two of them belongs to the longer
            one: `P1_2` rather than `P1`. One with two names that are apart belongs to none.
    """
    own, shared = [], []
    for path in files:
        if belongs(path, folder, subject):
            # `P1` is in the name of P1_2's file as well.
            rivals = [o for o in others if o != subject and belongs(path, folder, o)]
            apart = [o for o in rivals if subject not in o and o not in subject]
            if apart:
                problem = f"has the names of {subject} and {apart[0]}"
                shared.append(CohortError(path, problem, "rename it, or name it in the table"))
            elif not any(subject in o for o in rivals):
                own.append(path)

    def of(suffixes: tuple[str, ...]) -> tuple[Path, ...]:
        return tuple(path for path in own if path.suffix.lower() in suffixes)

    return Candidates(of(EDF_SUFFIXES), of(TEXT_SUFFIXES), of(VIDEO_SUFFIXES), tuple(shared))


def named(cell: str, folder: Path, column: str) -> Path | None:
    """The file that a cell of the table names; None for an empty cell.

    It is relative to the folder, or absolute.

    Raises:
        CohortError: there is no such file.
    """
    if not cell:
        return None
    path = folder / cell
    if not path.is_file():
        raise CohortError(path, "is missing", f"correct the column {column} of the table")
    return path


def only_video(found: Candidates, folder: Path) -> Path:
    """The only video of a subject; a cohort cannot hold the parts of a night's video.

    Raises:
        CohortError: there is none, or several, or another that is named alike and may as well be
            another subject's: `2_part2.mp4` is named alone of `2` where there is a subject `1`.
    """
    if len(found.videos) > 1:
        names = ", ".join(path.relative_to(folder).as_posix() for path in found.videos)
        fix = f"name the right one in the column video of the table; {JOIN}"
        raise CohortError(folder, f"{len(found.videos)} files may be the video: {names}", fix)
    video = one(found.videos, "video", "video", folder)
    for problem in found.shared:
        if _numbers_apart(Path(problem.file), folder) == _numbers_apart(video, folder):
            raise problem
    return video


def _numbers_apart(path: Path, folder: Path) -> str:
    """What is left of a name without its numbers, which is equal for the parts of a video."""
    return re.sub(r"\d+", "#", path.relative_to(folder).as_posix().lower())


def one(paths: tuple[Path, ...], what: str, column: str, folder: Path) -> Path:
    """The only file of its kind.

    Raises:
        CohortError: there is none, or there are several.
    """
    if len(paths) == 1:
        return paths[0]
    fix = f"name it in the column {column} of the table"
    if not paths:
        raise CohortError(folder, f"no {what} has the subject in its name", fix)
    names = ", ".join(path.relative_to(folder).as_posix() for path in paths)
    raise CohortError(folder, f"{len(paths)} files may be the {what}: {names}", fix)
