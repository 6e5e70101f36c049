"""One run in this process: its threads, its resources, its code."""

import json

from toy_tasks import run

from sacd.runs import RunStore, execute


def test_one_run_alone_is_computed_here_with_the_threads_of_a_worker(tmp_path):
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        store, r = RunStore(tmp_path), run(task="threads")
        execute([r], store, quiet=True)
        assert json.loads((store.folder(r) / "threads.json").read_text()) == {
            "torch": 1, "device": "cuda" if torch.cuda.is_available() else "cpu",
        }  # fmt: skip
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_a_run_may_have_resources_of_its_own(tmp_path):
    store, own, common = (
        RunStore(tmp_path),
        run(task="threads", resources=(("threads", "2"),)),
        run(1, "threads"),
    )
    execute([own, common], store, workers=0, resources={"threads": "3"}, quiet=True)
    found = [
        json.loads((store.folder(r) / "threads.json").read_text())["torch"] for r in (own, common)
    ]
    assert found == [2, 3]


def test_a_worker_with_other_code_refuses(tmp_path):
    from sacd.runs.compute import compute

    outcome, text = compute(str(tmp_path), run(), "0" * 16, {"threads": "1"})
    assert outcome == "failed" and "other code than the client" in text
