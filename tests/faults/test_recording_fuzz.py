"""Random bytes and random tables: a reader gives every row or refuses in one line, never else."""

import math

import pytest
from cohort_files import paths
from hypothesis import given, settings
from hypothesis import strategies as st
from raw_edf import write_raw
from recording_changes import X

from sacd.data.cohort import CohortError, survey
from sacd.data.edf import read_header
from sacd.data.eeg import open_channel, read_eeg
from sacd.data.events import COLUMNS, clip_table, read_events, survey_events
from sacd.data.scoring import recognise
from sacd.data.texts import number, read_object, read_table
from sacd.data.unusable import clip_losses
from sacd.stages import UNSCORED

FUZZ = settings(deadline=None, max_examples=200, database=None, derandomize=True)
WORDS = st.sampled_from(
    ["W", "N1", "2", "4", "R", "?", "apnea", "", "n/a", "Light", "30", "0", "\u00e4"]
)
FIELDS = st.one_of(WORDS, st.text(st.characters(codec="utf-8"), max_size=6))
CODECS = ("utf-8", "utf-8-sig", "utf-16", "utf-16-le", "latin-1", "utf-32")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("fuzz")


def refused(read, *args):
    """What a reader gives, or None if it refuses as it should."""
    try:
        return read(*args)
    except CohortError as error:
        assert "\n" not in str(error) and error.fix
        return None


@FUZZ
@given(data=st.binary(max_size=300))
def test_random_bytes(folder, data):
    path = folder / "bytes"
    path.write_bytes(data)
    refused(read_table, path, COLUMNS)
    refused(read_object, path, "fix")
    refused(read_header, path)
    survey_events(path)


@pytest.mark.slow
@FUZZ
@given(rows=st.lists(st.lists(FIELDS, min_size=2, max_size=4)), codec=st.sampled_from(CODECS))
def test_random_tables(folder, rows, codec):
    path = folder / "events.tsv"
    lines = ["\t".join(COLUMNS)] + ["\t".join(row) for row in rows]
    path.write_bytes("\n".join(lines).encode(codec, errors="replace"))
    table = refused(read_table, path, COLUMNS)
    if table is not None:
        assert len(table.rows) == len(table.lines)
        assert table.lines == sorted(set(table.lines))
    found = refused(read_events, path)
    if found is not None:
        clip_table(found)


@pytest.mark.slow
@FUZZ
@given(
    stages=st.lists(st.sampled_from(["W", "N1", "N2", "N3", "REM", "?"]), min_size=1, max_size=30),
    lengths=st.lists(st.integers(1, 3), min_size=30, max_size=30),
    codec=st.sampled_from(CODECS),
    end=st.sampled_from(["\n", "\r\n", "\r"]),
    separator=st.sampled_from("\t;,"),
)
def test_every_row_comes_out_as_the_clips_that_it_stands_for(
    folder, stages, lengths, codec, end, separator
):
    path, at, lines, expected = folder / "night.tsv", 0, [separator.join(COLUMNS)], []
    names = ["W", "N1", "N2", "N3", "REM", "?"]
    for stage, n in zip(stages, lengths, strict=False):
        lines.append(separator.join((str(at), str(30 * n), stage)))
        expected += [(at + 30 * k, (0, 1, 2, 3, 4, UNSCORED)[names.index(stage)]) for k in range(n)]
        at += 30 * n
    path.write_bytes(end.join(lines).encode(codec))
    found = refused(read_events, path)
    if found is None:
        assert set(stages) == {"?"}  # nothing is scored
    else:
        clips = clip_table(found)
        assert list(zip(clips["onset_s"], clips["stage"], strict=True)) == expected


@FUZZ
@given(names=st.lists(FIELDS, max_size=8))
def test_a_coding_never_gives_one_name_two_stages_and_never_fails(names):
    scoring = refused(recognise, names, "events.tsv")
    if scoring is not None:
        assert set(scoring.stages) | set(scoring.unknown) <= set(names)
        assert set(scoring.stages.values()) <= {UNSCORED, 0, 1, 2, 3, 4}
        assert not set(scoring.stages) & set(scoring.unknown)
        # The order of the names decides nothing.
        again = recognise(names[::-1], "events.tsv")
        assert again.stages == scoring.stages and again.coding == scoring.coding


@FUZZ
@given(text=st.text(max_size=12))
def test_a_number_is_one_or_none(text):
    value = number(text)
    assert value is None or math.isnan(value) or value == float(text)


@FUZZ
@given(at=st.integers(0, 768), data=st.binary(min_size=1, max_size=40))
def test_a_damaged_header(folder, at, data):
    path = folder / "night.edf"
    if not (folder / "whole.edf").exists():
        write_raw(
            folder / "whole.edf", {"C3": X[: 128 * 60]}, "EDF+D", [*range(30), *range(40, 70)]
        )
    whole = (folder / "whole.edf").read_bytes()
    path.write_bytes(whole[:at] + data + whole[at + len(data) :])
    raw = refused(open_channel, path, "C3")
    if raw is not None and raw.rate >= 100 and raw.rate < 1e4:
        eeg = refused(read_eeg, raw, 100)
        if eeg is not None:
            assert abs(len(eeg) / 100 - raw.end_s) < 0.1
            clip_losses(raw, 100, [0, 30.0])
            list(refused(lambda: list(raw.file.annotations())) or [])


@FUZZ
@given(people=st.lists(st.lists(FIELDS, min_size=2, max_size=2), max_size=4))
def test_random_participants(folder, people):
    root = folder / "cohort"
    paths(root, "sub-01")[0].parent.mkdir(parents=True, exist_ok=True)
    lines = ["participant_id\tahi"] + ["\t".join(row) for row in people]
    (root / "participants.tsv").write_text("\n".join(lines), encoding="utf-8")
    cohort, problems = survey(root)
    assert not cohort.nights and problems
    assert not any("\n" in str(problem) for _, problem in problems)
