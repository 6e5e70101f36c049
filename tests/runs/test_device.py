"""Which device trains, how many runs share a GPU, and that its numbers are runs of their own."""

import pytest
from toy_tasks import run

from sacd.runs.device import SETTING, device_kind, gpus, runs_per_gpu


@pytest.mark.parametrize(
    ("visible", "expected"),
    [
        (None, ["0", "1", "2"]),
        ("", []),
        ("-1", []),
        ("none", []),
        ("NoDevFiles", []),
        ("2", ["2"]),
        (" 2, 0", ["2", "0"]),
        ("1,-1,2", ["1"]),
        ("GPU-8f3a91c2,GPU-77aa0b1d", ["GPU-8f3a91c2", "GPU-77aa0b1d"]),
        ("MIG-5c1e,x", ["MIG-5c1e"]),
        ("0,1,2,3,4", ["0", "1", "2"]),
    ],
)
def test_which_gpus_there_are(monkeypatch, visible, expected):
    monkeypatch.setattr("torch.cuda.device_count", lambda: 3)
    monkeypatch.setattr("shutil.which", lambda name: name)
    if visible is None:
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    else:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert gpus() == expected


@pytest.mark.parametrize(
    ("memory", "expected"), [("81559\n81559\n", 4), ("24576\n", 1), ("49140\n", 3), ("[N/A]", 1)]
)
def test_as_many_runs_share_a_gpu_as_its_memory_allows(monkeypatch, tmp_path, memory, expected):
    tool = tmp_path / "nvidia-smi"
    tool.write_text(f"#!/bin/sh\nprintf '{memory}'\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    assert runs_per_gpu() == expected


def test_without_its_tool_a_gpu_has_one_run(monkeypatch):
    monkeypatch.setenv("PATH", "")
    assert runs_per_gpu() == 1


def test_a_run_on_a_gpu_is_another_run(monkeypatch):
    monkeypatch.setenv(SETTING, "cpu")
    here = run()
    assert "device" not in here.identity
    monkeypatch.setenv(SETTING, "cuda")
    there = run()
    assert there.identity["device"] == "cuda" and there.id != here.id


def test_an_unknown_device_is_one_line(monkeypatch):
    monkeypatch.setenv(SETTING, "tpu")
    with pytest.raises(ValueError, match="DEVICE 'tpu' is unknown; known: cpu, cuda"):
        device_kind()
