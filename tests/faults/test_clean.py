"""`make clean` removes what a profile made; `make clean-all` asks; what a user brought stays."""

import fcntl
import json

import pytest

from sacd.clean import main

MADE = "data/demo/cohort data/demo/store data/demo/store-16-spread data/demo/ucf101 data/demo/ucf51"


def put(root, name, content=None):
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    (root / name).write_text(json.dumps(content or {}))


@pytest.fixture
def root(tmp_path):
    """Files of two profiles, of a lab's cohort, and of a user."""
    about = {"Simulator": {"version": 1}}
    for place, print_ in (("demo", "d"), ("smoke", "s"), ("demo-lab-12345678", "lab")):
        put(tmp_path, f"data/{place}/store/manifest.json", {"fingerprint": print_})
        put(tmp_path, f"runs/{print_ * 2}/config.json", {"identity": {"data": print_}})
        put(tmp_path, f"runs/.work/{print_}/config.json", {"identity": {"data": print_}})
    for name in ("cohort", "ucf101"):
        put(tmp_path, f"data/demo/{name}/dataset_description.json", about)
    put(tmp_path, "data/demo/store-16-spread/manifest.json", {"fingerprint": "d16"})
    put(tmp_path, "data/demo/ucf51/manifest.json", {"fingerprint": "u"})
    put(tmp_path, "data/demo/ucf51-UCF-12345678/manifest.json", {"fingerprint": "real"})
    put(tmp_path, "runs/none/config.json", {"identity": {"data": ""}})
    put(tmp_path, "runs/broken/config.json", [])
    put(tmp_path, "data/weights/r3d18.pth")
    put(tmp_path, "weights/r3d18.pth")
    for name in ("demo", "bench", "smoke", "demo-lab-12345678", "scratch"):
        put(tmp_path, f"results/{name}/MANIFEST.json")
    return tmp_path


def files(root):
    return {path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file()}


def refuse(question):
    raise AssertionError("asked")


def test_clean_removes_what_the_profile_made_and_asks_nothing(root):
    before = files(root)
    assert main([], root, refuse) == 0
    gone = before - files(root)
    runs = {"runs/dd/config.json", "runs/.work/d/config.json"}
    assert {name for name in gone if name.startswith("runs")} == runs
    assert {name.rpartition("/")[0] for name in gone} == {
        *MADE.split(),
        *(name.rpartition("/")[0] for name in runs),
    }
    main(["--profile=smoke"], root, refuse)
    assert not (root / "results" / "smoke").exists() and (root / "results" / "demo").exists()


def test_a_lab_s_folder_in_the_place_of_the_cohort_stays(root):
    put(root, "data/demo/cohort/dataset_description.json", {"Name": "a lab's"})
    put(root, "data/demo/cohort/sub-01/eeg/night.edf")
    main([], root, refuse)
    assert (root / "data" / "demo" / "cohort" / "sub-01" / "eeg" / "night.edf").is_file()


def test_what_a_link_points_to_stays(root, tmp_path_factory):
    lab = tmp_path_factory.mktemp("lab")
    put(lab, "dataset_description.json", {"Simulator": {"version": 1}})
    (root / "data" / "smoke" / "cohort").symlink_to(lab)
    (root / "data" / "mine").symlink_to(lab)
    main(["--profile=smoke"], root, refuse)
    main(["--all"], root, lambda question: "y")
    assert (lab / "dataset_description.json").is_file()


def test_a_run_that_is_being_computed_stays(root, capsys):
    lock = root / "runs" / ".locks" / "dd.lock"
    lock.parent.mkdir()
    with lock.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        main([], root, refuse)
    assert (root / "runs" / "dd").is_dir() and "runs/dd is kept" in capsys.readouterr().out


@pytest.mark.parametrize("answer", ["", "n", "yes", EOFError])
def test_clean_all_lists_and_without_a_y_removes_nothing(root, capsys, answer):
    def ask(question):
        if answer is EOFError:
            raise EOFError
        return answer

    before = files(root)
    assert main(["--all"], root, ask) == 0
    assert files(root) == before
    said = capsys.readouterr().out
    assert "data/demo-lab-12345678" in said and "nothing was removed" in said


def test_clean_all_removes_what_it_listed(root):
    main(["--all"], root, lambda question: "y")
    assert files(root) == {
        "data/weights/r3d18.pth",
        "weights/r3d18.pth",
        "results/demo/MANIFEST.json",
        "results/bench/MANIFEST.json",
    }
