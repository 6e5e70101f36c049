"""The bench: its arithmetic, its record, small editions of its parts; no timing is judged here."""

import json
from itertools import count, pairwise

import av
import pytest

import benchmarks as bench
from benchmarks import execution, predict, scale, training
from benchmarks.__main__ import main
from benchmarks.measure import Row, interleaved, ratio
from benchmarks.nights import write_night
from sacd.data.ingest import ingest
from sacd.data.store import ClipStore, StoreConfig


def test_sides_take_turns_and_the_first_round_does_not_count():
    done, clock = [], count()
    seconds = interleaved(
        [lambda: done.append("a"), lambda: done.append("b")], 2, lambda: next(clock)
    )
    assert done == ["a", "b"] * 3 and seconds == [[1, 1], [1, 1]]


def test_an_aim_is_met_or_missed():
    missed = ratio("x", [1.0, 1.2, 1.06], "<= 1.05", "batch 4")
    assert missed.met is False and missed.detail == "3 pairs, 1.00 to 1.20; batch 4"
    assert ratio("x", [29, 31, 40], ">= 30", "").met and Row("x", 1, "s").met is None


def test_record_keeps_what_was_measured_before(tmp_path):
    parts = {
        "grid": lambda folder: [Row("busy", 0.951234, "ratio", ">= 0.9", "2 runs")],
        "ingest": lambda folder: [Row("fast", 0.5, "ratio", ">= 0.8"), Row("time", 3.21, "s")],
    }
    bench.run(tmp_path, ["grid"], parts)
    record = bench.run(tmp_path, ["ingest"], parts)
    assert json.loads((tmp_path / "bench.json").read_text()) == record and list(record) == [
        "ingest",
        "grid",
    ]
    assert record["grid"]["about"]["cores"] and record["grid"]["rows"][0]["value"] == 0.9512
    text = (tmp_path / "bench.md").read_text()
    assert (
        "| ingest | fast | 0.5 | >= 0.8 | **no** |" in text and "| ingest | time | 3.21 s |" in text
    )
    assert "| grid | busy | 0.951 | >= 0.9 | yes | 2 runs |" in text and "cores" in text
    assert not [p for p in tmp_path.iterdir() if p.name.startswith(".")]
    with pytest.raises(ValueError, match=r"no part speed of the bench; known: grid, ingest"):
        bench.run(tmp_path, ["speed"], parts)


def test_command_line_refuses_an_unknown_part(tmp_path, capsys):
    assert main(["--only", "speed", "--output", str(tmp_path)]) == 1
    assert (
        "known: ingest, memory, loader, step, losses, grid, stages, growth, predict, scale"
        in capsys.readouterr().err
    )


@pytest.mark.slow
def test_a_night_of_joined_pieces_is_a_whole_video(tmp_path):
    cohort = write_night(tmp_path / "cohort", 2, (48, 64), rate=10)
    with av.open(str(next(cohort.rglob("*.mp4")))) as container:
        times = [frame.time for frame in container.decode(video=0)]
    assert len(times) == 600 and all(abs(b - a - 0.1) < 1e-6 for a, b in pairwise(times))
    store = ingest(cohort, tmp_path / "store", StoreConfig(height=24, width=32, frames=30))
    assert len(store.clips) == 2 and store.gather_video(store.clips).std() > 5


@pytest.mark.slow
def test_a_step_of_sacd_trains_what_it_should(tmp_path):
    for method in ("ce", "sacd"):
        backbone, step = training._step(True, 64, (24, 32), method)
        step(training._example(backbone, 32, 64, (24, 32)))
    backbone, step = training._step(False, 16, (32, 32))
    step(training._example(backbone, 4, 16, (32, 32)))


@pytest.mark.slow
def test_the_speed_of_predict_is_measured_with_the_share_of_decoding(tmp_path):
    rows = predict.speed(tmp_path, clips=1, pairs=1, x3d_px=32)
    speeds, shares = [row.value for row in rows[::2]], [row.value for row in rows[1::2]]
    assert len(rows) == 4 and min(speeds) > 0 and min(shares) > 0
    assert rows[0].aim == ">= 100" and rows[0].met == (rows[0].value >= 100)


@pytest.mark.slow
def test_equal_runs_are_timed_from_their_records(tmp_path):
    (row,) = execution.grid(tmp_path, runs=2, rounds=3, workers=1)
    assert 0 < row.value <= 1 and row.detail.startswith("2 runs of")


def test_stages_come_from_what_the_command_says(tmp_path, monkeypatch):
    said = (
        "16/16 runs\na cohort; small: simulate and ingest 4 s, train 30 s, report and verify 2 s; "
        "results in /x"
    )
    commands = []
    monkeypatch.setattr(
        execution, "_timed", lambda command, folder: commands.append(command) or (40.0, said)
    )
    rows = {row.measure: row.value for row in execution.stages(tmp_path)}
    assert (
        rows["set-up"] == 40
        and rows["train, cold, 1 worker(s)"] == 30
        and rows["all of it, warm, 2 worker(s)"] == 40
    )
    assert (
        rows["simulate and ingest, warm, 2 worker(s)"] == 4
        and rows["report and verify, cold, 2 worker(s)"] == 2
    )
    assert rows["1 worker over 2 workers, cold, all stages"] == 1 and len(rows) == 1 + 3 * 4 + 2
    assert [c[-1] for c in commands[1:]] == ["1", "2", "2"] and commands[0][:2] == ["make", "setup"]
    with pytest.raises(ValueError, match="exit 3: no disk"):
        monkeypatch.undo()
        execution._timed(["sh", "-c", "echo no disk >&2; exit 3"], tmp_path)


@pytest.mark.slow
def test_a_long_store_opens_and_takes_no_disk(tmp_path):
    store = scale.sparse_store(tmp_path, clips=31, nights=2, size=(16, 16))
    opened = ClipStore(store)
    assert len(opened.clips) == 31 and opened.clips["block"].nunique() == 2
    assert opened.gather_video(opened.clips.iloc[[15, 16]]).shape == (2, 16, 16, 16)
    rows = scale.long_store(tmp_path / "small", clips=40, nights=2, steps=2)
    assert [row.met for row in rows[1:]] == [True]
