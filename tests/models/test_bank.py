import io

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sacd.models.bank import MemoryBank


def keys(*values: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Entry v has the key [v, v] and the label v mod 5."""
    v = torch.tensor(values)
    return v[:, None].repeat(1, 2).float(), v % 5


def slots(bank: MemoryBank) -> list[int]:
    return bank.keys[:, 0].int().tolist()


def test_walk_step_by_step_with_wrap():
    bank = MemoryBank(5, 2)
    assert [t.shape for t in bank.get()] == [(0, 2), (0,)]
    bank.enqueue(*keys(1, 2, 3))
    assert (slots(bank), int(bank.pointer), int(bank.fill)) == ([1, 2, 3, 0, 0], 3, 3)
    assert bank.get()[1].tolist() == [1, 2, 3]
    bank.enqueue(*keys(4, 5, 6))  # two fit, one wraps and drops the oldest
    assert (slots(bank), int(bank.pointer), int(bank.fill)) == ([6, 2, 3, 4, 5], 1, 5)
    bank.enqueue(*keys(7, 8, 9, 10))  # ends exactly at the end
    assert (slots(bank), int(bank.pointer), int(bank.fill)) == ([6, 7, 8, 9, 10], 0, 5)
    assert bank.labels.tolist() == [1, 2, 3, 4, 0]
    bank.enqueue(*keys(11))
    assert (slots(bank), int(bank.pointer)) == ([11, 7, 8, 9, 10], 1)
    bank.enqueue(*keys(*range(20, 32)))  # more than fit at all: the last five stay
    assert sorted(slots(bank)) == [27, 28, 29, 30, 31]
    assert (int(bank.pointer), int(bank.fill)) == ((1 + 12) % 5, 5)
    oldest = int(bank.pointer)
    assert slots(bank)[oldest] == 27
    bank.enqueue(*keys(32))
    assert sorted(slots(bank)) == [28, 29, 30, 31, 32]


@settings(max_examples=25)
@given(st.integers(1, 7), st.lists(st.integers(0, 12), max_size=8))
def test_holds_the_last_entries_of_any_sequence_of_batches(size, batches):
    bank, seen = MemoryBank(size, 2), []
    for b in batches:
        new = list(range(len(seen) + 1, len(seen) + b + 1))
        seen += new
        bank.enqueue(*keys(*new) if new else (torch.zeros(0, 2), torch.zeros(0, dtype=torch.long)))
        k, labels = bank.get()
        assert sorted(k[:, 0].int().tolist()) == seen[-size:]
        assert ((k[:, 0].long() % 5) == labels).all()


def test_saved_and_loaded_it_makes_three_equal_steps():
    bank = MemoryBank(4, 2)
    for i in range(3):
        bank.enqueue(*keys(2 * i + 1, 2 * i + 2))
    assert set(bank.state_dict()) == {"keys", "labels", "_extra_state"}
    twin = MemoryBank(4, 2)
    file = io.BytesIO()
    torch.save(bank.state_dict(), file)
    file.seek(0)
    twin.load_state_dict(torch.load(file, weights_only=True))
    for i in range(3):
        for b in (bank, twin):
            b.enqueue(*keys(50 + i, 60 + i, 70 + i))
        states = bank.state_dict(), twin.state_dict()
        assert states[0].pop("_extra_state") == states[1].pop("_extra_state")
        for name, a in states[0].items():
            assert torch.equal(a, states[1][name])


def test_keys_carry_no_gradient_and_are_copies():
    bank = MemoryBank(4, 2)
    k = torch.ones(2, 2, requires_grad=True)
    bank.enqueue(k, torch.zeros(2, dtype=torch.long))
    with torch.no_grad():
        k.mul_(9)
    got, _ = bank.get()
    assert not got.requires_grad and got.max() == 1
    bank.enqueue(torch.ones(1, 2, dtype=torch.float16), torch.zeros(1, dtype=torch.long))
    assert bank.keys.dtype == torch.float32


def test_bad_input_is_refused():
    with pytest.raises(ValueError, match="below 1"):
        MemoryBank(0, 2)
    bank = MemoryBank(4, 2)
    with pytest.raises(ValueError, match="width 2"):
        bank.enqueue(torch.zeros(3, 5), torch.zeros(3, dtype=torch.long))
    with pytest.raises(ValueError, match="3 labels"):
        bank.enqueue(torch.zeros(2, 2), torch.zeros(3, dtype=torch.long))
