"""A night's video in parts: none of them stands for the night, and the table says why."""

import pandas as pd
from lab_files import EDF_NOTES, write_film, write_psg

from sacd.data.lab import import_lab


def parts_of(tmp_path, names, rows):
    """The report on nights whose videos have these names; the EEG of each is `<subject>.edf`."""
    lab = tmp_path / "lab"
    for row in rows:
        write_psg(lab / f"{row['subject']}.edf", EDF_NOTES)
    for name in names:
        write_film(lab / name, 60)
    pd.DataFrame(rows).to_csv(tmp_path / "t.csv", index=False)
    report = import_lab(lab, tmp_path / "t.csv", tmp_path / "o", {}, dry_run=True)
    return report.fillna("").to_dict("records")


def test_no_part_of_a_video_stands_for_the_night(tmp_path):
    """The contract has one video per night."""
    names = [f"NIGHT_part{k}.mp4" for k in (1, 2)]
    [row] = parts_of(tmp_path, names, [{"subject": "NIGHT"}])
    assert row["result"] == "dropped" and row["video"] == ""
    said = "2 files may be the video: NIGHT_part1.mp4, NIGHT_part2.mp4; name the right one"
    assert said in row["notes"] and "join the parts of a night first, in their" in row["notes"]
    [row] = parts_of(tmp_path, [], [{"subject": "NIGHT", "video": "NIGHT_part2.mp4"}])
    assert (row["result"], row["video"]) == ("imported", "NIGHT_part2.mp4")
    assert "not used: NIGHT_part1.mp4 (another video of the subject: join the" in row["notes"]


def test_a_part_is_not_the_video_of_the_subject_whose_name_is_its_number(tmp_path):
    """`2_part2` is named alone of the subject 2, and may be the second part of its night."""
    names = [f"{subject}_part{k}.mp4" for subject in (1, 2) for k in (1, 2)]
    for row in parts_of(tmp_path, names, [{"subject": 1}, {"subject": 2}]):
        assert row["result"] == "dropped", row
        assert "has the names of" in row["notes"] and "rename it" in row["notes"]
