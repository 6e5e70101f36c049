"""A copy of an EDF file that names nobody."""

from datetime import datetime, time
from pathlib import Path

from sacd.data.edf import DATE, NOTES, PATIENT, RECORDING, EdfFile

_BLANK_DATES = ("01.01.85", "01.01.00", "01.01.01")
"""What anonymised files have for a date; the first is the EDF specification's."""


def is_hypnogram(file: EdfFile) -> bool:
    """Whether a file holds annotations and no signal."""
    return set(file.labels) == {NOTES}


def date_is_blank(start: datetime) -> bool:
    """Whether somebody removed the date."""
    return start.strftime("%d.%m.%y") in _BLANK_DATES


def is_blank(start: datetime) -> bool:
    """Whether date and time of day are blank, so that no clock can be compared with this start."""
    return date_is_blank(start) and start.time() == time()


def patient(path: Path) -> str:
    """What the header says of the patient; empty if that was removed."""
    with path.open("rb") as file:
        text = file.read(PATIENT.stop)[PATIENT].decode("latin-1").strip(" \0")
    # EDF+ writes X for each field that is not known.
    return text if set(text.upper().split()) - {"X"} else ""


def copy_without_identity(source: EdfFile, target: Path) -> None:
    """Copy an EDF file without what names the patient; all samples stay byte for byte.

    The fields of patient and recording and the date are blank in the copy, the time of day stays.
    Annotations are removed but for the time of every data record: technicians write names there.
    """
    size = 2 * sum(source.samples)
    places = [source.place(k) for k, label in enumerate(source.labels) if label == NOTES]
    notes = [slice(2 * place.start, 2 * place.stop) for place in places]
    plus = source.kind != "EDF"
    with source.path.open("rb") as file, target.open("wb") as out:
        head = bytearray(file.read(source.offset))
        head[PATIENT] = (b"X X X X" if plus else b"X").ljust(80)
        head[RECORDING] = (b"Startdate X X X X" if plus else b"X").ljust(80)
        head[DATE] = _BLANK_DATES[0].encode()
        out.write(head)
        while record := bytearray(file.read(size)):
            for k, part in enumerate(notes):  # by EDF+ the first channel has the times
                old = bytes(record[part])
                record[part] = _time_alone(old) if k == 0 else bytes(len(old))
            out.write(record)


def _time_alone(notes: bytes) -> bytes:
    """Annotations of a data record without texts; the first says when the record begins."""
    time, mark, _ = notes.partition(b"\x14\x14")
    if not mark or len(time) > 20:
        return bytes(len(notes))
    return (time + mark).ljust(len(notes), b"\0")
