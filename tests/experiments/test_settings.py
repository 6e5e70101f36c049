"""Channel, EEG rate and frames: what messages tell a user to set can be set, and is obeyed."""

import json

import pytest
from cohort_files import number, write_about, write_cohort
from lab_files import write_lab

from sacd.__main__ import main
from sacd.data.problems import CohortError
from sacd.data.settings import with_settings
from sacd.data.store import StoreConfig
from sacd.experiments.items import NOTEBOOKS
from sacd.experiments.workspace import Workspace

CONFIG = StoreConfig(height=24, width=32, frames=64)


@pytest.fixture
def cohort(tmp_path):
    return write_cohort(tmp_path / "cohort", ("sub-01",))


def state(cohort, settings):
    """Written as Windows' editor does it, with a mark at the start."""
    path = cohort / "dataset_description.json"
    text = json.dumps(json.loads(path.read_text("utf-8-sig")) | {"Settings": settings})
    path.write_text(text, encoding="utf-8-sig")


def test_the_command_line_comes_before_the_cohort_and_the_profile(cohort):
    assert with_settings(CONFIG, cohort, {}) == CONFIG
    state(cohort, {"channel": "C4", "frames": 30})
    own = with_settings(CONFIG, cohort, {})
    assert (own.channel, own.frames, own.eeg_rate, own.height) == ("C4", 30, 100, 24)
    assert with_settings(CONFIG, cohort, {"channel": "Fpz"}).channel == "Fpz"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"chanel": "C4"}, "has the setting 'chanel'; known are channel, eeg_rate, frames, samp"),
        ({"height": 9}, "has the setting 'height'"),
        ({"frames": 0}, "setting frames is 0: input should be greater than or equal to 1; correct"),
        ({"sampling": "all"}, "setting sampling is 'all': input should be 'spread' or 'consec"),
        ([1], r"has the Settings \[1\], which are no object"),
    ],
)
def test_wrong_settings_are_one_line(cohort, settings, message):
    state(cohort, settings)
    with pytest.raises(CohortError, match=message) as caught:
        with_settings(CONFIG, cohort, {})
    assert "dataset_description.json" in str(caught.value) and "\n" not in str(caught.value)


def test_check_obeys_what_its_messages_tell_to_set(tmp_path, capsys):
    """Each message names a setting; with the setting the message is gone."""
    cohort = write_cohort(tmp_path / "cohort", ("sub-01", "sub-02", "sub-03"))
    words = ["check", "--profile", "smoke", "--data", str(cohort), "--root", str(tmp_path)]
    assert main([*words, "--channel", "C4"]) == 1
    assert "`channel`" in capsys.readouterr().out
    assert main([*words, "--channel", "C3"]) == 0
    assert main([*words, "--eeg-rate", "200"]) == 1
    assert main([*words, "--eeg-rate", "64"]) == 0
    state(cohort, {"channel": "C4"})
    assert main(words) == 1
    assert main([*words, "--channel", "EEG C3-M2"]) == 0


@pytest.mark.parametrize("rate", [64, 128, 600])
def test_a_rate_that_no_teacher_takes_is_refused_before_the_ingest(cohort, tmp_path, capsys, rate):
    words = ["--profile", "smoke", "--data", str(cohort), "--root", str(tmp_path)]
    given = ["--eeg-rate", str(rate)]
    if rate == 128:  # stated by the cohort
        state(cohort, {"eeg_rate": rate})
        given = []
    assert main(["reproduce", *words, *given]) == 1
    line = capsys.readouterr().err.splitlines()[-1]
    unable = "attnsleep" + (", deepsleepnet, modified_sen, mc2sleepnet" if rate == 600 else "")
    assert line == (
        f"error: eeg_rate is {rate} Hz, which {unable} cannot take; set `eeg_rate` (EEG_RATE=) to "
        "100 or 125, which all take (in Hz: attnsleep 100 or 125, deepsleepnet 32 to 512, "
        "modified_sen 32 to 512, mc2sleepnet 32 to 512)"
    )
    assert not (tmp_path / "data").exists() and not (tmp_path / "results").exists()
    main(["check", *words, *given])
    assert f"make reproduce would refuse it: eeg_rate is {rate} Hz" in capsys.readouterr().out


def test_notebooks_without_a_teacher_take_every_rate(cohort, tmp_path):
    w = Workspace("smoke", cohort, root=tmp_path, settings={"eeg_rate": 64})
    assert {name for name in NOTEBOOKS if not NOTEBOOKS[name].trains_attnsleep(w)} == {
        *("10_fig2_cohort", "21_table3_ucf51", "41_paper_audit", "44_simulator_and_reality")
    }
    w.sleepedf = tmp_path
    assert not NOTEBOOKS["42_mc2sleepnet"].trains_attnsleep(w), "its EEG is Sleep-EDF's"


def test_ingest_obeys_and_a_notebook_takes_what_was_ingested(cohort, tmp_path):
    many = {"frames": 500, "sampling": "consecutive"}
    with pytest.raises(CohortError, match="500 consecutive ones are wanted"):
        Workspace("smoke", cohort, root=tmp_path, settings=many).prepare(1)
    settings = {"frames": 20, "eeg_rate": 64, "sampling": "consecutive"}
    Workspace("smoke", cohort, root=tmp_path, settings=settings).prepare(1)
    notebook = Workspace("smoke", cohort, root=tmp_path)
    assert notebook.store.video("sub-01").shape == (3, 20, 24, 32)
    assert notebook.store.eeg("sub-01").shape == (3, 30 * 64)
    assert notebook.profile.store == notebook.store.config
    again = Workspace("smoke", cohort, root=tmp_path, settings={})
    assert again.profile.store.frames == 64, "a setting of the command line is not remembered"


def test_a_simulated_cohort_has_the_settings_of_its_profile(tmp_path, capsys):
    assert main(["check", "--profile", "smoke", "--root", str(tmp_path), "--frames", "9"]) == 1
    said = capsys.readouterr().err
    assert said == "error: frames: set for a cohort that exists; say DATA= too\n"


def test_a_labs_folder_is_ingested_with_the_settings_of_its_import(tmp_path, capsys):
    table, cohort = write_lab(tmp_path / "lab"), tmp_path / "cohort"
    words = [str(tmp_path / "lab"), "--table", str(table), "--out", str(cohort), "--frames", "30"]
    assert main(["import-lab", *words]) == 0
    assert f"next: make check DATA={cohort}" in capsys.readouterr().out
    space = Workspace("smoke", cohort, root=tmp_path, settings={})
    space.prepare(1)
    stages = space.store.clips.groupby("subject")["stage"].apply(list).to_dict()
    # The camera of the first night began 5 s late, so its first clip is lost.
    assert stages == {"sub-P01": [2, 2, 4], "sub-P02": [0, 2, 3, 4]}
    assert space.store.video("sub-P01").shape == (3, 30, 24, 32)
    # A frame shows its number: the clip at 30 s begins with the frame 25 s into the video.
    first = space.store.video("sub-P01")[0]
    assert [number(frame) for frame in first[:2]] == [4 * 25, 4 * 26]


def test_subjects_that_cannot_be_split_are_told_before_anything_is_made(tmp_path, capsys):
    """Four subjects of four AHI groups: each group gives its subject to the training."""
    subjects = ("sub-01", "sub-02", "sub-03", "sub-04")
    cohort = write_cohort(tmp_path / "cohort", subjects)
    write_about(cohort, dict(zip(subjects, (2, 10, 20, 40), strict=True)))
    words = ["--profile", "smoke", "--data", str(cohort), "--root", str(tmp_path)]
    said = f"{cohort}: no subject is left for validation, test: 4 subjects are too few; add sub"
    main(["check", *words])
    assert f"make reproduce would refuse it: {said}" in capsys.readouterr().out
    assert main(["reproduce", *words, "--only", "fig2"]) == 1
    assert f"error: {said}" in capsys.readouterr().err
    assert not (tmp_path / "data").exists() and not (tmp_path / "runs").exists()
