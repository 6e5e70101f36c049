import numpy as np
import pandas as pd
import pytest

from sacd.analysis import ahi, cases, maps, portrait
from sacd.figures import base, embeddings, errors
from sacd.stages import STAGES

TITLES = {"AHI": "(a)", "Normal": "(b)", "Mild": "(c)", "Moderate": "(d)", "Severe": "(e)"}


def noise(*shape):
    return np.random.default_rng(0).standard_normal(shape)


def correlation_boxes():
    means = noise(12, 5, 20)
    means[:, 3] = np.nan  # nobody has N3
    return embeddings.correlation_boxes(
        ahi.correlations(
            means, ahi.targets(np.r_[np.full(6, 2.0), np.full(6, 40.0)]), permutations=20
        ),
        TITLES,
    )


def subject_maps():
    values = np.linspace(1, 60, 12)
    panel = (noise(12, 2), values, np.arange(12) < 4)
    return embeddings.subject_maps({"N2": panel, "N3": panel}, {"N2": (np.zeros(2), 70.0)})


def clip_maps():
    index = pd.Series({"a": 1.0, "b": 50.0, "c": 20.0})
    subject = np.repeat(["a", "b", "c"], 12)
    found = portrait.clip_portrait(noise(36, 5), subject, index, ["a", "b"])
    assert isinstance(found.zone, maps.DangerZone)
    return embeddings.clip_maps({"N2": found}, index, "c")


def table(seed):
    rng = np.random.default_rng(seed)
    return pd.DataFrame(
        {"subject": np.repeat(list("abcd"), 20), "block": np.repeat(range(4), 20)}
    ).assign(
        clip=np.tile(np.arange(20), 4),
        stage=np.random.default_rng(0).integers(0, 4, 80),
        prediction=rng.integers(0, 5, 80),
    )


def confusion_comparison():
    a, b = table(1), table(2)
    difference = cases.confusion_shares([a], [b]).assign(p_holm=0.01)
    return errors.confusion_comparison(
        {"SACD": cases.confusion_shares([a]), "CCL": cases.confusion_shares([b])},
        {"SACD - CCL": difference},
    )


def where_errors_are():
    people = pd.DataFrame({"movement": [1.0, 2, 3], "error": [10.0, 30, 20]})
    return errors.where_errors_are(
        cases.error_by_distance({"a": [table(1)], "b": [table(2)]}), people, "(b)"
    )


DRAW = {
    "correlation_boxes": correlation_boxes,
    "subject_maps": subject_maps,
    "clip_maps": clip_maps,
    "stage_maps": lambda: embeddings.stage_maps({"a": noise(50, 2)}, np.arange(50) % 3),
    "confusion_comparison": confusion_comparison,
    "where_errors_are": where_errors_are,
    "error_types": lambda: errors.error_types(cases.confusion_shares([table(3)]), "SACD"),
    "message": lambda: errors.message("No clip."),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", DRAW)
def test_every_figure_draws_and_saves_equal_bytes(name, tmp_path):
    written = []
    for folder in "ab":
        figure = base.label_data(DRAW[name](), "simulated cohort, smoke profile", 3, 80)
        written.append([path.read_bytes() for path in base.save(figure, tmp_path / folder, name)])
    assert written[0] == written[1] and min(map(len, written[0])) > 2000


def test_the_numbers_drawn_are_those_given():
    figure = confusion_comparison()
    shares = cases.confusion_shares([table(1)])["value"].to_numpy()
    drawn = [t.get_text() for t in figure.axes[0].texts]
    # The table has no REM clip: its row is empty.
    assert drawn == [f"{v:.0f}" for v in shares if np.isfinite(v)] and len(drawn) == 20
    assert any(t.get_text().endswith("*") for t in figure.axes[2].texts)
    boxes = correlation_boxes()
    assert [label.get_text() for label in boxes.axes[0].get_xticklabels()] == list(STAGES)


def test_the_danger_zone_is_in_the_legend_where_there_is_one():
    figure = clip_maps()
    outlines = sum(len(axes.collections) for axes in figure.axes)
    names = [text.get_text() for text in figure.legends[0].get_texts()]
    assert outlines > 3 and names.count("danger zone, estimated") == 1


class _Store:
    """Stands for a clip store: two clips."""

    class config:
        eeg_rate = 100

    def gather_eeg(self, rows):
        return noise(len(rows), 3000)

    def gather_video(self, rows):
        return np.zeros((len(rows), 16, 12, 16), "uint8")


def test_frames_only_if_they_may_be_shown():
    rows = pd.DataFrame({"subject": ["a", "b"], "row": [0, 1]})
    shown, hidden = (
        errors.correspondence(_Store(), rows, ["x", "y"], frames) for frames in (True, False)
    )
    assert sum(len(axes.images) for axes in shown.axes) == 10
    assert sum(len(axes.images) for axes in hidden.axes) == 0
    assert "No clip" in errors.correspondence(_Store(), rows[:0], [], True).texts[0].get_text()
