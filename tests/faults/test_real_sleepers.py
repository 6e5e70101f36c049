"""No frame of a real sleeper in any output, whatever a cohort claims of itself."""

import json
import shutil
from pathlib import Path

import pytest

from sacd.analysis import explore
from sacd.data.ingest import ingest
from sacd.experiments import items, reproduce
from sacd.experiments.items import NOTEBOOKS
from sacd.experiments.profiles import SMOKE
from sacd.experiments.workspace import Workspace
from sacd.simulate.cohort import MADE, simulate

ABOUT = "dataset_description.json"
CONFIG = SMOKE.simulate.model_copy(update={"n_subjects": 1, "blocks": 1})
FREE = b"\0\0\0\x08free"
"""An empty box: with it an MP4 has other bytes and the same pictures."""


@pytest.fixture(scope="module")
def simulated(tmp_path_factory):
    root = simulate(tmp_path_factory.mktemp("made") / "cohort", CONFIG)
    return root


def keep(root):
    """The simulator's own files."""


def another_video(root):
    video = next(root.rglob("*.mp4"))
    video.write_bytes(video.read_bytes() + FREE)


def another_eeg(root):
    events = next(root.rglob("*events.tsv"))
    text = events.read_text()
    last = text.splitlines()[-1].split("\t")[0]
    events.write_text(f"{text}{last}\t1\tarousal\n")


def one_more_night(root):
    table = root / "participants.tsv"
    line = table.read_text().splitlines()[1]
    table.write_text(table.read_text() + line.replace("sub-01", "sub-99") + "\n")
    for path in [path for path in (root / "sub-01").rglob("*") if path.is_file()]:
        other = root / "sub-99" / path.parent.name / path.name.replace("sub-01", "sub-99")
        other.parent.mkdir(parents=True, exist_ok=True)
        content = path.read_bytes()
        if path.suffix in (".edf", ".mp4"):  # the same recording twice would be refused
            content = content[:-1] + b"\1" if path.suffix == ".edf" else content + FREE
        other.write_bytes(content)


def no_list(root):
    (root / MADE).unlink()


def empty_list(root):
    (root / MADE).write_text("{}")


def broken_list(root):
    (root / MADE).write_text("{")


def describe(**more):
    def write(root):
        about = json.loads((root / ABOUT).read_text())
        about.pop("Simulator")
        (root / ABOUT).write_text(json.dumps(about | more))

    return write


def prepared(root, place, w=None):
    w = Workspace("smoke", data=root, root=place)
    ingest(root, w.store_path, w.profile.store, code="test")
    return w


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "shown"),
    [
        (keep, True),
        (another_video, False),
        (another_eeg, False),
        (one_more_night, False),
        (no_list, False),
        (empty_list, False),
        (broken_list, False),
        (describe(simulated=True), False),
        (describe(simulated="no"), False),
        (describe(simulated=1, Simulator={}), False),
        (describe(simulated=True, Simulator=None), False),
    ],
)
def test_frames_are_shown_only_where_the_simulator_made_every_file(
    simulated, tmp_path, change, shown
):
    root = shutil.copytree(simulated, tmp_path / "cohort")
    change(root)
    w = prepared(root, tmp_path)
    assert w.frames_may_be_shown is shown
    clips = w.store.clips.iloc[:3]
    made = explore_signals(w, clips)
    assert ("frames" in made) is shown and "eeg" in made, "as 34_fig10_stage_tsne calls it"


def explore_signals(w, clips):
    """What the line of the notebook that writes `explore.parquet` gives for some clips."""
    cells = json.loads(NOTEBOOKS["34_fig10_stage_tsne"].source.read_text())["cells"]
    [cell] = ["".join(cell["source"]) for cell in cells if "explore.signals(" in str(cell)]
    lines = [line for line in cell.splitlines() if "frames" in line]
    video, eeg = w.store.gather(clips)
    known = {"space": w, "explore": explore, "shown": clips, "video": video, "eeg": eeg}
    exec("\n".join(lines), known)
    return known["signals"]


@pytest.mark.slow
def test_a_claim_of_real_files_changes_nothing(simulated, tmp_path):
    """The simulator's description and list, copied beside the files of another cohort."""
    root = shutil.copytree(simulated, tmp_path / "cohort")
    another_video(root)
    real = prepared(root, tmp_path)
    assert not real.frames_may_be_shown
    assert not Workspace("smoke", data=root, root=tmp_path / "new").frames_may_be_shown, "no store"


class Space:
    """As much of a `Workspace` as the withdrawal needs."""

    simulated, prepared = False, True

    def __init__(self, results, shown):
        self.results, self.frames_may_be_shown = results, shown


def made(results, depends=None, parameters=None):
    """What an execution of the notebooks with frames left; returns all files."""
    names = []
    for name, notebook in NOTEBOOKS.items():
        if not notebook.frames and not set(notebook.reads) & set(FRAMED):
            continue
        record = {"depends": depends or {}, "parameters": parameters or {}}
        copy = {"cells": [], "metadata": {"sacd": record}}
        texts = {f"notebooks/{name}.ipynb": json.dumps(copy), f"report/{name}.html": "page"}
        texts |= {f"notebooks/failed/{name}.ipynb": json.dumps(copy)}
        texts |= dict.fromkeys(notebook.frames, "picture")
        for path, text in texts.items():
            (results / path).parent.mkdir(parents=True, exist_ok=True)
            (results / path).write_text(text)
        names += texts
    (results / "figures" / "fig13.png").write_text("no frames")
    return sorted(names)


PICTURES = ("tour_clips", "fig11", "fig12_transition")
FRAMED = (
    *(f"figures/{name}.{ending}" for name in PICTURES for ending in ("png", "pdf")),
    "tables/explore.parquet",
)


def test_the_notebooks_with_frames_are_known():
    named = [path for notebook in NOTEBOOKS.values() for path in notebook.frames]
    assert sorted(named) == sorted(FRAMED)
    writes = ("correspondence(", "montage(", "explore.write(")
    for name, notebook in NOTEBOOKS.items():
        text = notebook.source.read_text()
        drawn = {figure for figure in PICTURES if f'\\"{figure}\\"' in text}
        assert drawn == {Path(path).stem for path in notebook.frames} - {"explore"}, name
        assert any(word in text for word in writes) == bool(notebook.frames), name


@pytest.mark.parametrize("depends", [None, {items.SIMULATED: "True"}])
def test_pictures_that_may_not_be_shown_are_removed(tmp_path, depends):
    names = made(tmp_path, depends)
    assert sorted(reproduce.withdraw_frames(Space(tmp_path, shown=False))) == names
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["fig13.png"]
    assert reproduce.withdraw_frames(Space(tmp_path, shown=False)) == []


def test_pictures_without_their_notebook_are_removed_too(tmp_path):
    made(tmp_path)
    shutil.rmtree(tmp_path / "notebooks")
    reproduce.withdraw_frames(Space(tmp_path, shown=False))
    assert [path.name for path in (tmp_path / "figures").iterdir()] == ["fig13.png"]


def test_results_that_came_with_the_repository_stay_where_nothing_was_simulated(tmp_path):
    """Else `make audit` in a fresh clone would remove committed notebooks."""
    names = made(tmp_path, {items.SIMULATED: "True"})
    clone = Workspace("smoke", root=tmp_path / "clone")
    clone.results = tmp_path
    assert not clone.frames_may_be_shown and reproduce.withdraw_frames(clone) == []
    claimed = Workspace("smoke", data=tmp_path / "nights", root=tmp_path / "clone")
    claimed.results = tmp_path
    assert sorted(reproduce.withdraw_frames(claimed)) == names


def test_what_may_be_shown_or_was_asked_for_stays(tmp_path):
    made(tmp_path)
    assert reproduce.withdraw_frames(Space(tmp_path, shown=True)) == []
    made(tmp_path, parameters={"show_frames": True})
    assert reproduce.withdraw_frames(Space(tmp_path, shown=False)) == []
    made(tmp_path, {items.SIMULATED: "False"})
    assert reproduce.withdraw_frames(Space(tmp_path, shown=False)) == []


def test_name_and_flag_are_part_of_a_notebooks_key(tmp_path, monkeypatch):
    name = "00_tour"
    monkeypatch.setitem(NOTEBOOKS, name, items.Notebook(name, lambda w: {}, (), frames=FRAMED))
    w = Workspace("smoke", root=tmp_path)
    for member, value in (("prepared", True), ("data_name", "a"), ("frames_may_be_shown", True)):
        monkeypatch.setattr(Workspace, member, value)
    monkeypatch.setattr(Workspace, "store", type("Store", (), {"fingerprint": "f"})())
    flags, names = [], []
    for member, value in (("data_name", "a"), ("frames_may_be_shown", False), ("data_name", "b")):
        monkeypatch.setattr(Workspace, member, value)
        depends = json.loads(reproduce._command(w, name)[-1])["depends"]
        flags.append(depends[items.SIMULATED])
        names.append(depends[f"{items.DATA}0 name"])
    assert flags == ["True", "False", "False"] and names == ["a", "a", "b"]
