"""Atomic writes of files and folders, JSON, tensors."""

import os
import pickle

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file

from sacd.files import (
    FileError,
    atomic,
    atomic_folder,
    create_array,
    read_json,
    remove_leftovers,
    remove_partial_folder,
    remove_temporary,
    require_json,
    save_tensors,
    sha256,
    write_json,
    write_parquet,
    write_text,
)


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "a.txt"
    write_text(path, "old")
    with pytest.raises(RuntimeError), atomic(path) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]


def test_a_disk_that_fills_while_writing_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "a.json"
    write_json(path, {"a": 1})

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space"):
        write_json(path, {"a": 2})
    assert path.read_text() == '{\n "a": 1\n}\n'
    assert len(list(tmp_path.iterdir())) == 1


def test_a_mapped_array_has_its_space_from_the_start(tmp_path):
    probe = tmp_path / "probe"
    probe.write_bytes(b"x" * 100_000)
    array = create_array(tmp_path / "a.npy", np.float16, (1000, 500))
    stat = (tmp_path / "a.npy").stat()
    assert stat.st_size > array.nbytes == 1_000_000 and not array.any()
    counts_blocks = probe.stat().st_blocks * 512 >= 100_000  # not so if it compresses
    if counts_blocks and hasattr(os, "posix_fallocate"):
        assert stat.st_blocks * 512 >= stat.st_size
    array[7] = 3
    array.flush()
    assert np.load(tmp_path / "a.npy")[6:9, 0].tolist() == [0, 3, 0]


def test_a_folder_is_replaced_only_when_the_new_one_is_complete(tmp_path):
    target = tmp_path / "a"
    for number in (1, 2):
        with atomic_folder(target) as folder:
            assert target.exists() == (number == 2)
            (folder / f"{number}.txt").touch()
        assert [p.name for p in target.iterdir()] == [f"{number}.txt"]
    with pytest.raises(OSError, match="full"), atomic_folder(target) as folder:
        (folder / "half.txt").touch()
        raise OSError("disk full")
    assert [p.name for p in target.iterdir()] == ["2.txt"]
    assert [p.name for p in tmp_path.iterdir()] == ["a"]


def test_what_a_killed_process_left_of_a_folder_is_removed(tmp_path):
    for name in ("a", ".a.partial", ".a.old", "b", ".b.partial", ".b.old", "c/d", "c/.d.old"):
        (tmp_path / name / "inner").mkdir(parents=True)
    for name in (".x.json.123.tmp.json", "c/.tmp8YPcJU"):
        (tmp_path / name).touch()
    with atomic_folder(tmp_path / "a") as folder:
        assert list(folder.iterdir()) == []
    remove_partial_folder(tmp_path / "b")
    assert not [p.name for p in tmp_path.iterdir() if p.name.startswith((".a.", ".b.p", ".b.o"))]
    (tmp_path / ".b.lock").unlink()
    remove_leftovers(tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a", "b", "c"]
    assert [p.name for p in (tmp_path / "c").iterdir()] == ["d"]


@pytest.mark.parametrize(
    "remove", [remove_partial_folder, lambda path: remove_leftovers(path.parent)]
)
def test_a_folder_whose_replacement_was_killed_half_way_comes_back(tmp_path, remove):
    """Killed between the two renames, where neither the old nor the new one has its name."""
    (tmp_path / ".a.old").mkdir()
    (tmp_path / ".a.old" / "1.txt").touch()
    (tmp_path / ".a.partial").mkdir()
    remove(tmp_path / "a")
    assert [p.name for p in (tmp_path / "a").iterdir()] == ["1.txt"]
    assert sorted({p.name for p in tmp_path.iterdir()} - {".a.lock"}) == ["a"]


def test_a_disk_that_fills_names_the_folder(tmp_path):
    with (
        pytest.raises(OSError, match=r"No space left.*/cohort'$"),
        atomic_folder(tmp_path / "cohort"),
    ):
        raise OSError(28, "No space left on device")


def test_json_refuses_nan(tmp_path):
    with pytest.raises(ValueError, match="JSON"):
        write_json(tmp_path / "a.json", {"a": float("nan")})
    assert not list(tmp_path.iterdir())


BAD_JSON = {"truncated": b'{"a": 1', "a list": b"[1]", "no text": b"\xff\xfe\x00"}


@pytest.mark.parametrize("content", BAD_JSON.values(), ids=BAD_JSON)
def test_json_that_is_no_object_is_empty_or_one_line(tmp_path, content):
    path = tmp_path / "a.json"
    path.write_bytes(content)
    assert read_json(path) == {}
    with pytest.raises(FileError) as caught:
        require_json(path, "write it again")
    assert str(caught.value) == f"{path}: is not a JSON object; write it again"


def test_json_that_is_missing_or_good(tmp_path):
    path = tmp_path / "a.json"
    assert read_json(path) == {}
    with pytest.raises(FileError, match=r"a\.json: is missing; write it"):
        require_json(path, "write it")
    write_json(path, {"a": "ä"})
    assert read_json(path) == require_json(path, "write it") == {"a": "ä"}


def test_an_error_about_a_file_can_be_pickled(tmp_path):
    error = pickle.loads(pickle.dumps(FileError(tmp_path, "is broken", "repair it")))
    assert (error.file, str(error)) == (tmp_path, f"{tmp_path}: is broken; repair it")


def test_equal_content_gives_equal_bytes(tmp_path):
    frame = pd.DataFrame({"subject": ["a", "b"], "p": [0.1, 0.2]})
    tensors = {"b": torch.arange(3), "a": torch.ones(2, 2)}
    reordered = dict(reversed(tensors.items()))
    for name in "xy":
        write_parquet(tmp_path / f"{name}.parquet", frame)
        save_tensors(tmp_path / f"{name}.safetensors", tensors if name == "x" else reordered)
    for kind in ("parquet", "safetensors"):
        assert sha256(tmp_path / f"x.{kind}") == sha256(tmp_path / f"y.{kind}")
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "x.parquet"), frame)


def test_tensors_that_share_memory_or_are_views(tmp_path):
    base = torch.arange(12.0).reshape(3, 4)
    save_tensors(
        tmp_path / "a.safetensors",
        {"all": base, "same": base, "view": base.T, "array": np.arange(3)},
    )
    back = load_file(tmp_path / "a.safetensors")
    assert torch.equal(back["view"], base.T)
    assert torch.equal(back["same"], base)
    assert back["array"].dtype == torch.int64


def test_what_killed_writers_of_a_file_left_is_removed_and_nothing_else(tmp_path):
    (tmp_path / ".a.json.123.tmp.json").write_text("half")
    for name in ("a.json", ".b.json.123.tmp.json", ".a.json"):
        (tmp_path / name).write_text("whole")
    remove_temporary(tmp_path / "a.json")
    assert {path.name for path in tmp_path.iterdir()} == {
        "a.json",
        ".b.json.123.tmp.json",
        ".a.json",
    }
