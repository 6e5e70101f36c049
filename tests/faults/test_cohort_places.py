"""Two cohorts never share a store or results, whatever their folders are called."""

import json
from pathlib import Path

import pytest

from sacd.experiments.places import claim, path_of, place_of
from sacd.experiments.workspace import Workspace
from sacd.results import COHORT, listed_files

NAMES = (
    "cohort",
    "a b",
    "$HOME",
    "`id`",
    "a;b",
    "it's",
    'a"b',
    "<img onerror=x>",
    "sömmer 睡眠",
    "CON",
    "a\\b",
    "C:\\nights",
    "...",
    "-x",
    "n" * 250,
    "nights",
    "line\nbreak",
)


@pytest.mark.parametrize("name", NAMES)
def test_two_folders_of_one_name_have_places_of_their_own(tmp_path, name):
    a, b = (Workspace("smoke", tmp_path / site / name, root=tmp_path) for site in "ab")
    places = [(w.store_path, w.results, w.with_clips(16, "consecutive").store_path) for w in (a, b)]
    assert len({path for place in places for path in place}) == 6
    for path in places[0]:
        part = path.relative_to(tmp_path.resolve()).parts[1]
        assert part.isascii() and len(part) < 70 and not set(part) & set(" $`;'\"<>\\/:\n*?|")


def test_sets_of_videos_and_sleep_edf_have_places_of_their_own(tmp_path):
    a, b = (
        Workspace("smoke", root=tmp_path, ucf101=f"/{s}/UCF-101", sleepedf=f"/{s}/sc") for s in "ab"
    )
    assert a.ucf51.store_path != b.ucf51.store_path and a.sleepedf_path != b.sleepedf_path


def test_seeds_nights_and_folders_are_not_mistaken_for_each_other(tmp_path):
    spaces = [
        Workspace("smoke", root=tmp_path, nights="/n"),
        Workspace("smoke", "/x/nights", root=tmp_path),
        Workspace("smoke", "/x/a", root=tmp_path, seeds=3),
        Workspace("smoke", "/x/a-3-seeds", root=tmp_path),
    ]
    assert len({w.results for w in spaces}) == len(spaces)
    assert len({w.store_path for w in spaces[:3:2]} | {spaces[1].store_path}) == 3


def test_one_path_has_one_place_however_it_is_written(tmp_path, monkeypatch):
    (tmp_path / "lab").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "lab")
    monkeypatch.chdir(tmp_path)
    written = (tmp_path / "lab", "lab", "./lab/", "lab/../lab", "link")
    assert len({place_of(path) for path in written}) == 1


def test_a_store_of_another_path_is_refused(tmp_path, monkeypatch):
    w = Workspace("smoke", tmp_path / "a" / "lab", root=tmp_path)
    claim(w.store_path.parent, Path("/b/lab"))
    ingested = []
    monkeypatch.setattr("sacd.experiments.workspace.ingest", lambda *a, **k: ingested.append(a))
    with pytest.raises(ValueError, match="holds what was made from /b/lab, not from ") as caught:
        w.prepare(1)
    assert "\n" not in str(caught.value) and "move it elsewhere" in str(caught.value)
    assert not ingested and path_of(w.store_path.parent) == "/b/lab"


def test_results_say_which_cohort_they_are_of(tmp_path, monkeypatch):
    root = tmp_path / "a" / "lab"
    w = Workspace("smoke", root, root=tmp_path)
    monkeypatch.setattr("sacd.experiments.workspace.ingest", lambda *a, **k: None)
    monkeypatch.setattr("sacd.experiments.workspace.reader_fingerprint", lambda entry: "code")
    for _ in range(2):
        w.prepare(1)
        assert json.loads((w.results / COHORT).read_text()) == {"path": str(root.resolve())}
    assert path_of(w.store_path.parent) == str(root.resolve())
    assert listed_files(w.results) == [], "a path of this machine is in no manifest"
    with pytest.raises(ValueError, match="not from"):
        claim(w.results, tmp_path / "b" / "lab")
