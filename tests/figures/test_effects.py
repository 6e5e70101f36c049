import numpy as np
import pandas as pd

from sacd.figures import base
from sacd.figures.effects import differences, plane

WEIGHTS = (0.1, 0.5, 1.0, 10.0)


def effects(verdicts=("better", "equal", "undecided")):
    table = pd.DataFrame({"difference": [3.0, 0.1, -1.0], "ci_low": [2.0, -0.5, -2.0]})
    table = table.assign(ci_high=[4.0, 0.6, 0.5], margin=1.0, verdict=list(verdicts))
    return table.set_index(pd.Index(["v1", "v2", "v3"]))


def labels(figure):
    return [text.get_text() for legend in figure.legends for text in legend.get_texts()]


def test_differences_tell_what_is_decided_and_show_the_margin():
    figure = differences(effects(), "ours", "accuracy")
    (axes,) = figure.axes
    assert [tick.get_text() for tick in axes.get_yticklabels()] == [
        *("v1 (no $L_D$)", "v2 (no JSD)", "v3 (no $L_C$)")
    ]
    first, second = axes.get_xlabel().split("\n")
    assert (
        first == "Difference from SACD (all terms): accuracy (percentage points)"
        and "95 %" in second
    )
    assert labels(figure) == [
        "Better (Holm p < 0.05)",
        "Equal (90 % interval within the margin)",
        "Undecided",
    ]
    of = {bars.get_label(): bars.lines[0].get_color() for bars in axes.containers}
    assert len(set(of.values())) == 3, "a colour for each verdict"
    dashed = [line.get_xdata()[0] for line in axes.lines if line.get_linestyle() == "--"]
    assert sorted(dashed) == [-1.0, 1.0]
    alone = differences(effects(["worse"] * 3), "ours")
    assert labels(alone) == ["Worse (Holm p < 0.05)"]
    assert alone.axes[0].containers[0].lines[0].get_color() not in of.values()


def test_an_interval_that_is_unknown_is_drawn_as_a_point():
    table = effects().assign(ci_low=np.nan, ci_high=np.nan)
    assert len(differences(table, "ours").axes[0].get_yticks()) == 3


def test_a_plane_frames_the_papers_point(tmp_path):
    values = pd.DataFrame(np.arange(16.0).reshape(4, 4), index=WEIGHTS, columns=WEIGHTS)
    values = values.rename_axis(index="λ1 (L_D)", columns="λ3 (JSD)")
    figure, again = (
        plane(values, "(b) λ2 = 1", (0.5, 1.0), (0, 20), "accuracy (%)") for _ in range(2)
    )
    heat, lines = figure.axes[:2]
    (frame,) = heat.patches
    assert frame.get_xy() == (2, 1) and heat.collections[0].get_clim() == (0, 20)
    assert [list(line.get_ydata()) for line in lines.lines] == values.T.to_numpy().tolist()
    named = [text.get_text() for text in lines.texts]
    assert named == [f"λ3 (JSD) = {weight:g}" for weight in WEIGHTS] and not figure.legends
    assert {line.get_linestyle() for line in lines.lines} == {"-"}
    assert [text.get_color() for text in lines.texts] == [line.get_color() for line in lines.lines]
    drawn = [
        base.save(base.label_data(f, "toy data"), tmp_path / n, "plane")
        for f, n in ((figure, "a"), (again, "b"))
    ]
    assert all(a.read_bytes() == b.read_bytes() for a, b in zip(*drawn, strict=True))


def test_a_plane_without_the_papers_point_has_no_frame():
    values = pd.DataFrame([[50.0, 60.0]], index=[0.1], columns=[0.1, 10.0])
    values = values.rename_axis(index="λ2 (L_C)", columns="λ3 (JSD)")
    figure = plane(values, "(a) λ1 = 0.5", (1.0, 1.0), (50, 60), "accuracy (%)")
    heat, lines = figure.axes[:2]
    assert not heat.patches and len(lines.lines) == len(lines.texts) == 2


def test_a_plane_of_accuracy_shows_the_majority():
    values = pd.DataFrame([[50.0, 60.0]], index=[0.1], columns=[0.1, 10.0])
    values = values.rename_axis(index="λ2 (L_C)", columns="λ3 (JSD)")
    _, lines = plane(values, "(a)", (1.0, 1.0), (50, 60), "accuracy (%)", 45.2).axes[:2]
    assert lines.texts[0].get_text() == "majority 45.2" and lines.get_ylim()[0] < 45.2
    assert [line.get_ydata()[0] for line in lines.lines if line.get_linestyle() == "--"] == [45.2]
