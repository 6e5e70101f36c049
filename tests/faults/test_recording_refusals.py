"""EEG and text files that cannot be used: each is refused in one line, and leaves nothing."""

import pytest
from recording_changes import (
    AHI,
    CLEAN,
    CONFIG,
    X,
    about,
    beside,
    eeg,
    events,
    names,
    patch,
    people,
    sidecar,
)

from sacd.data.check import check
from sacd.data.cohort import CohortError
from sacd.data.ingest import ingest

SCANS = (
    "filename\tacq_time\neeg/sub-01_task-sleep_eeg.edf\t2024-03-01T22:00:00\n"
    "video/sub-01_task-sleep_video.mp4\t2024-03-01T22:00:30\n"
)
TWENTIES = "".join(f"{t}\t20\tLight\n" for t in (30, 50, 70))
DEEP = '{"a":' * 100_000
# what is done -> the file, and the line that must be printed
REFUSED = {
    "EDF+D backwards": (
        eeg({"C3": X}, "EDF+D", [*range(60), *range(30, 120)]),
        "_eeg.edf: record 61 begins at 30 s, within the one before (59 to 60 s)",
    ),
    "EDF+D without onsets": (patch(192, b"EDF+D"), "_eeg.edf: is EDF+D but has no channel"),
    "EDF+D that ends in a year": (
        eeg({"C3": X}, "EDF+D", [*range(149), 9999999]),
        "_eeg.edf: ends 2778 h after its start, limit 100 h",
    ),
    "BDF": (patch(0, b"\xffBIOSEMI"), "_eeg.edf: cannot be read as EDF (it is BDF)"),
    "records of 0 s": (patch(244, b"0       "), "_eeg.edf: states that a record lasts 0 s"),
    "no unit": (eeg({"C3": X}, unit=b""), "_eeg.edf: C3 states the unit '', EEG has uV, mV or V"),
    "no range": (patch(360, b"1000    "), "_eeg.edf: C3 states the range 1000 to 1000 uV"),
    "flat night": (eeg({"C3": X * 0}), "_eeg.edf: C3 is flat; choose"),
    "ragged row": (
        events(CLEAN.replace("60\t30", "60\t30\t7")),
        "_events.tsv: line 4: has 4 fields, the header has 3; correct this line",
    ),
    "short row": (events(CLEAN.replace("60\t30\t", "60\t")), "line 4: has 2 fields, the header"),
    "open quote": (events(CLEAN.replace("N2", '"N2')), "line 4: cannot be split into fields"),
    "header only": (events("onset\tduration\ttrial_type\n"), "has a header and no row; write"),
    "empty": (events(""), "_events.tsv: is empty; write a header with onset duration trial_type"),
    "two columns of a name": (
        events(CLEAN.replace("\t30\t", "\t30\t30\t").replace("duration", "duration\tduration")),
        "line 1: has the column 'duration' twice",
    ),
    "zero bytes": (events("\0" * 99), "line 1: has the control character '\\x00'"),
    "decimal comma": (events(CLEAN.replace("60\t30", "60,0\t30")), "line 4: onset '60,0' is not"),
    "1_20": (events(CLEAN.replace("120", "1_20")), "line 6: onset '1_20' is not a number"),
    "milliseconds": (
        events(CLEAN.replace("120\t", "12000000\t")),
        "line 6: onset '12000000' is not a number of seconds from 0 to 360000",
    ),
    "empty lines count": (events("\n\n" + CLEAN.replace("90\t", "x\t")), "line 7: onset 'x'"),
    "0 to 4": (events(names("0", "1", "2", "3", "4")), "4 is REM in the coding 0-4, and N3 in"),
    "1 to 5": (events(names("1", "2", "3", "4", "5")), "and W where counting starts at 1; name"),
    "unknown names": (
        events(names("W", "hell", "Light", "Light", "REM")),
        "has 3 rows as long as epochs where no known stage is: 'Light' (2), 'hell' (1); name",
    ),
    "unknown names without a length": (
        events(CLEAN.replace("30\tN", "n/a\tLight").replace("t2", "t1").replace("t3", "t1")),
        "has 3 rows as long as epochs where no known stage is: 'Light1' (3)",
    ),
    "unknown names of 20 s": (
        events(CLEAN.replace("30\t30\tN1\n60\t30\tN2\n", TWENTIES)),
        "has 3 rows as long as epochs where no known stage is: 'Light' (3); name them W, N1",
    ),
    "blanks for tabs": (events(CLEAN.replace("\t", " ")), "line 1: its columns are not separated"),
    "none is known": (events(names("dunkel", "hell")), "stage is: 'dunkel' (1), 'hell' (1)"),
    "ahi 1e9": (people(AHI.format(50).replace("12.5", "1e9")), "ahi '1e9' is not a number >="),
    "born in 1950": (people(AHI.format(1950)), "age '1950' is not a number >= 0 and <= 120"),
    "ragged participants": (people(AHI.format(50) + "sub-02\t3\n"), "line 3: has 2 fields"),
    "participants without a row": (people("participant_id\tahi\n"), "has a header and no row"),
    "deep description": (about(DEEP), "dataset_description.json: is nested too deeply; write"),
    "huge description": (about('{"Name": "' + "x" * 2**20 + '"}'), "has 1.05 MB, limit 1.05 MB"),
    "cut description": (about('{"Name": "x",'), "is not a JSON object: Expecting property name"),
    "list": (about("[1]"), "dataset_description.json: is not a JSON object"),
    "two names": (about('{"Name": "a", "Name": "b"}'), "has the key 'Name' twice; keep one"),
    "deep sidecar": (sidecar(DEEP), "_video.json: is nested too deeply; write"),
    "two offsets": (
        sidecar({"StartTime": 30, "StartOffset": 0}),
        "_video.json: states two offsets: StartTime 30, StartOffset 0; keep one",
    ),
    "another offset deeper down": (
        sidecar({"StartOffset": 0, "Video": {"StartOffset": 30}}),
        "_video.json: states two offsets: StartOffset 0, Video.StartOffset 30; keep one",
    ),
    "offset and delay": (
        sidecar({"StartOffset": 0, "DelayOfCamera": 30}),
        "_video.json: states two offsets: StartOffset 0, DelayOfCamera 30; keep one",
    ),
    "offset as text": (sidecar({"StartTime": "22:00:00"}), "StartTime '22:00:00' is not a number"),
    "endless offset": (sidecar('{"StartOffset": 1e999}'), "StartOffset inf is not a number of sec"),
    "offset of 400 digits": (sidecar('{"offset": 1' + "0" * 400 + "}"), "is not a number of sec"),
    "offset in ms": (
        sidecar({"StartOffset": 30, "StartOffsetUnits": "ms"}),
        "_video.json: has StartOffsetUnits 'ms', and offsets are in s; write",
    ),
    "offset in a JSON file of another name": (
        beside("sub-01/video/sub-01_task-sleep_video.mp4.json", '{"StartOffset": 30}'),
        "_video.mp4.json: may say when the video starts, and is not read; write",
    ),
    "offset for all nights": (
        beside("task-sleep_video.json", '{"StartTime": 30}'),
        "task-sleep_video.json: may say when the video starts, and is not read",
    ),
    "starts in scans.tsv": (
        beside("sub-01/sub-01_scans.tsv", SCANS),
        "sub-01_scans.tsv: says that the video starts 30 s after the EEG, and is not read",
    ),
    "events in ms": (
        events(CLEAN.replace("0\t", "0000\t")),
        "_events.tsv: has 4995 of 5000 scored clips after the end of the EEG (150 s)",
    ),
    **{
        f"sidecar with {where} alone": (
            sidecar(content),
            f"has no StartOffset, and {where} may say when the video starts; write",
        )
        for where, content in (
            ("delay_s 30", {"delay_s": 30}),
            ("Video.StartOffset 30", {"Video": {"StartOffset": 30}}),
            ("sync.video 30.5", {"sync": {"eeg": 0, "video": 30.5}}),
            ("Versatz '30 s'", {"Versatz": "30 s"}),
            ("Verz\u00f6gerung 30", {"Verz\u00f6gerung": 30}),
            ("FirstFrame 30", {"FirstFrame": 30, "FrameRate": 5}),
            ("FrameOffset 150", {"FrameOffset": 150}),
            ("t_video 30", {"t_video": [30]}),
            ("Recorded '2024-03-01T22:00:30'", {"Recorded": "2024-03-01T22:00:30"}),
            ("AcquisitionTime '22:00:30'", {"AcquisitionTime": "22:00:30"}),
        )
    },
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_refused_in_one_line_and_nothing_is_left(cohort, tmp_path, case):
    change, line = REFUSED[case]
    change(cohort)
    table = check(cohort)
    lines = (table["file"] + ": " + table["problem"] + "; " + table["fix"]).tolist()
    assert any(line in text for text in lines), lines
    assert (table["level"] == "error").any() and not any("\n" in text for text in lines)
    with pytest.raises(CohortError):
        ingest(cohort, tmp_path / "store", CONFIG)
    left = {path.name for path in tmp_path.glob("store/*")}
    assert left <= {".lock"}
