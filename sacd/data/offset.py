"""Starts of a video that stand where nobody reads them: an offset of 0 would be wrong there."""

from datetime import datetime
from pathlib import Path

from sacd.data.cohort import Night
from sacd.data.problems import CohortError
from sacd.data.sidecar import sidecar_offset
from sacd.data.texts import read_table

_FIX = 'write {{"StartOffset": seconds from the start of the EEG to the first frame}} into {}'


def refuse_unread(night: Night) -> None:
    """Raise CohortError if another file than the sidecar seems to say when the video began.

    That is another JSON file in the video's folder, one of a video above it (BIDS lets a file count
    for all below it), or the `acq_time` of BIDS' scans.tsv.
    """
    folder, sidecar = night.video.parent, night.sidecar
    fix = _FIX.format(sidecar.name)
    others = [*folder.glob("*.json"), *folder.glob("*.JSON")]
    for above in (folder.parent, folder.parent.parent):
        others += above.glob("*video*.json")
    for path in sorted(set(others) - {sidecar}):
        try:
            known = sidecar_offset(path) is not None
        except CohortError:  # no number, or another key that may be a time
            known = True
        if known:
            raise CohortError(path, "may say when the video starts, and is not read", fix)
    for path in sorted(folder.parent.glob("*_scans.tsv")):
        gap = _gap(path, night)
        if gap:
            problem = f"says that the video starts {gap:g} s after the EEG, and is not read"
            raise CohortError(path, problem, fix)


def _gap(path: Path, night: Night) -> float:
    """Start of the video less that of the EEG in s, by a scans.tsv; 0 if it does not say both."""
    try:
        table = read_table(path, ("filename", "acq_time")).rows
        times = {Path(row.filename).name: row.acq_time for row in table.itertuples()}
        video, eeg = (datetime.fromisoformat(times[file.name]) for file in (night.video, night.eeg))
        return (video - eeg).total_seconds()
    except (CohortError, KeyError, ValueError, TypeError):
        return 0.0
