import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sacd.data.batches import batches, runs


def draw(blocks, size, order, seed=0):
    return [
        b.numpy()
        for b in batches(np.asarray(blocks), size, order, torch.Generator().manual_seed(seed))
    ]


def test_a_run_ends_where_the_id_changes_and_an_id_may_come_back():
    found = [rows.tolist() for rows in runs(np.array([4, 4, 9, 4]))]
    assert found == [[0, 1], [2], [3]]


@settings(max_examples=50)
@given(st.lists(st.integers(1, 50), min_size=1, max_size=12), st.integers(1, 16), st.integers(0, 9))
def test_batches_are_consecutive_clips_of_one_block_and_no_clip_comes_twice(lengths, size, seed):
    blocks = np.repeat(np.arange(len(lengths)), lengths)
    seen = []
    for rows in draw(blocks, size, "block", seed):
        assert 1 <= len(rows) <= size
        assert (np.diff(rows) == 1).all()
        assert len(set(blocks[rows])) == 1
        seen.extend(rows)
    assert len(seen) == len(set(seen))
    # Only single clips at the ends of a block are missing: at most two per block.
    missing = np.bincount(blocks, minlength=len(lengths)) - np.bincount(
        blocks[seen], minlength=len(lengths)
    )
    assert (missing <= 2).all()


def test_blocks_of_16_are_complete_batches_in_an_order_set_by_the_seed():
    blocks = np.repeat(np.arange(30), 16)
    a, b = draw(blocks, 16, "block", 0), draw(blocks, 16, "block", 1)
    assert {len(x) for x in a} == {16}
    assert [x[0] for x in a] != [x[0] for x in b]
    assert sorted(x[0] for x in a) == sorted(x[0] for x in b) == list(range(0, 480, 16))


def test_a_long_night_is_cut_at_another_phase_every_epoch():
    blocks = np.zeros(100, int)
    starts = {min(x[0] for x in draw(blocks, 16, "block", s) if len(x) == 16) for s in range(20)}
    assert len(starts) > 2


def test_joined_batches_are_complete_and_come_from_different_blocks():
    blocks = np.repeat(np.arange(10), 16)
    rows = [
        b.numpy()
        for b in batches(blocks, 16, "block", torch.Generator().manual_seed(0), blocks_per_batch=4)
    ]
    assert [len(r) for r in rows] == [64, 64, 32]
    for part in (r[k : k + 16] for r in rows for k in range(0, len(r), 16)):
        assert (np.diff(part) == 1).all() and len(set(blocks[part])) == 1
    assert len(np.unique(np.concatenate(rows))) == 160


def test_joined_batches_cut_every_16_rows_give_consecutive_clips_of_one_night():
    """As MC2SleepNet and the graphs do; few nights are a multiple of 16 clips long."""
    blocks = np.repeat(np.arange(3), (70, 30, 85))
    for seed in range(5):
        for batch in batches(
            blocks, 16, "block", torch.Generator().manual_seed(seed), blocks_per_batch=4
        ):
            for rows in batch.split(16):
                assert len(set(blocks[rows])) == 1 and (np.diff(rows) == 1).all()


def test_shuffled_batches_mix_blocks_and_drop_an_incomplete_one():
    blocks = np.repeat(np.arange(10), 10)
    rows = draw(blocks, 16, "shuffled")
    assert [len(r) for r in rows] == [16] * 6
    assert len(np.unique(np.concatenate(rows))) == 96
    assert all(len(set(blocks[r])) > 1 for r in rows)
