import pytest

from sacd.stages import COLOURS, STAGES, ahi_group, label


def test_every_stage_name_round_trips_and_has_a_colour():
    assert [label(s) for s in STAGES] == list(range(5))
    assert set(COLOURS) == set(STAGES)


@pytest.mark.parametrize("ahi", [-1, float("nan")])
def test_impossible_ahi_is_refused(ahi):
    with pytest.raises(ValueError, match="AHI"):
        ahi_group(ahi)
