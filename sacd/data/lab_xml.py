"""Scorings in XML: NSRR, Compumedics Profusion, Philips Sleepware G3 (.rml)."""

import math
import re
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path

from sacd.data.lab_notes import Note
from sacd.data.problems import CohortError
from sacd.data.texts import read_text
from sacd.stages import CLIP_S

# Compumedics writes Rechtschaffen and Kales: 5 is REM, 6 movement, 9 not scored.
_PROFUSION = {"0": "W", "1": "N1", "2": "N2", "3": "N3", "4": "N3", "5": "REM"}
_DECLARATION = re.compile(r"<!\s*(DOCTYPE|ENTITY)", re.IGNORECASE)


def parse(path: Path) -> ET.Element:
    """Root of an XML file.

    A file that declares a document type is refused: entities, which name other files or grow
    without a limit, can be declared there alone, and no recorder writes one.

    Raises:
        CohortError: not XML, or it declares a document type.
    """
    text, _ = read_text(path)
    if _DECLARATION.search(text):
        problem = "declares a document type (DOCTYPE), which is not read for safety"
        raise CohortError(path, problem, "remove the declaration")
    try:
        return ET.fromstring(text.lstrip())
    except (ET.ParseError, ValueError) as error:
        raise CohortError(path, f"is not XML ({error})", "export it again") from None


def xml_notes(path: Path) -> tuple[list[Note], bool]:
    """Stages and events of a scoring in XML, in s from the start of the recording; have stages
    numbers in place of times?

    Raises:
        CohortError: not XML, no known format, or epochs that are not 30 s long.
    """
    root = parse(path)
    kinds = {"PSGAnnotation": _nsrr, "CMPStudyConfig": _profusion, "PatientStudy": _philips}
    read = kinds.get(_local(root))
    if read is None:
        problem = f"has the root <{_local(root)}>; known are {', '.join(kinds)}"
        raise CohortError(path, problem, "export the scoring as EDF+, CSV or one of these")
    for child in root.iter():
        text = (child.text or "").strip()
        # Stages of 20 s cannot become stages of 30 s without scoring again.
        if _local(child) == "EpochLength" and text not in (str(CLIP_S), f"{CLIP_S}.0"):
            problem = f"has epochs of {text!r} s, {CLIP_S} s are needed"
            raise CohortError(path, problem, f"score in epochs of {CLIP_S} s")
    try:
        return list(read(root)), read is _profusion
    except (TypeError, ValueError) as error:
        problem = f"has a time that is not a number ({error})"
        raise CohortError(path, problem, "export it again") from None


def _local(element: ET.Element) -> str:
    """Name without its namespace."""
    return str(element.tag).rpartition("}")[2]


def _all(root: ET.Element, name: str) -> Iterator[ET.Element]:
    return (element for element in root.iter() if _local(element) == name)


def _fields(element: ET.Element) -> dict[str, str]:
    return {_local(child): (child.text or "").strip() for child in element}


def _stage(code: str) -> str:
    """Name of a stage; a word stays as it is: `recognise` knows it, or it is told."""
    return _PROFUSION.get(code, "unscored" if re.fullmatch(r"-?\d*", code) else code)


def _nsrr(root: ET.Element) -> Iterator[Note]:
    """<ScoredEvent> with EventType, EventConcept ("Stage 2 sleep|2"), Start and Duration in s."""
    for element in _all(root, "ScoredEvent"):
        event = _fields(element)
        concept, _, code = event.get("EventConcept", "").partition("|")
        if concept == "Recording Start Time":
            continue
        name = concept
        if event.get("EventType", "").startswith("Stages"):
            name = _stage(code or concept)
        yield float(event.get("Start", "")), float(event.get("Duration") or 0), name


def _profusion(root: ET.Element) -> Iterator[Note]:
    """One <SleepStage> per epoch; <ScoredEvent> with Name, Start and Duration in s."""
    for k, element in enumerate(_all(root, "SleepStage")):
        yield float(k * CLIP_S), float(CLIP_S), _stage((element.text or "").strip())
    for element in _all(root, "ScoredEvent"):
        event = _fields(element)
        if "Start" in event:
            yield float(event["Start"]), float(event.get("Duration") or 0), event.get("Name", "")


def _philips(root: ET.Element) -> Iterator[Note]:
    """<Stage Type Start> at each change; <Event Type Start Duration>; the length of the session.

    Of a staging by a scorer and one by the machine, the scorer's counts.
    """
    stagings = list(_all(root, "UserStaging")) or list(_all(root, "MachineStaging")) or [root]
    changes = []
    for element in _all(stagings[0], "Stage"):
        changes.append((float(element.get("Start", "")), element.get("Type", "")))
    changes.sort()
    # The session is the longest of them; the last stage lasts until its end.
    lengths = [float(e.text) for e in _all(root, "Duration") if (e.text or "").strip()]
    ends = [onset for onset, _ in changes[1:]] + [max(lengths, default=math.nan)]
    for (onset, name), end in zip(changes, ends, strict=True):
        yield onset, end - onset, name
    for element in _all(root, "Event"):
        start = float(element.get("Start", ""))
        yield start, float(element.get("Duration") or 0), element.get("Type", "")
