"""What every figure satisfies: it draws, names its data, cuts no text, saves equal bytes twice."""

from collections.abc import Callable
from pathlib import Path

import pytest

from sacd.figures import base

LABEL = "simulated cohort, smoke profile n = 1 subject, 1,200 clips"


def pytest_collection_modifyitems(items):
    """A test that saves figures takes seconds."""
    for item in items:
        if "check_figure" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.slow)


@pytest.fixture
def check_figure(tmp_path, coarse_figures) -> Callable[[Callable[[], base.Figure]], None]:
    """Check the figure that a function draws."""

    def check(draw: Callable[[], base.Figure]) -> None:
        first, second = (_saved(draw(), tmp_path / folder) for folder in "ab")
        for path, again in zip(first, second, strict=True):
            assert path.read_bytes() == again.read_bytes()
        png, pdf = first
        assert len(list(png.parent.iterdir())) == 2, "a temporary file was left"
        assert png.stat().st_size > 2000 and b"matplotlib.org" not in png.read_bytes()
        assert pdf.read_bytes().startswith(b"%PDF") and b"CreationDate" not in pdf.read_bytes()

    return check


def _saved(figure: base.Figure, folder: Path) -> list[Path]:
    base.label_data(figure, "simulated cohort, smoke profile", subjects=1, clips=1200)
    # A narrow figure has the label on two lines.
    labels = [" ".join(text.get_text().split()) for text in figure.texts]
    assert LABEL in labels
    written = base.save(figure, folder, "figure")
    drawn = figure.get_tightbbox(figure._get_renderer())  # in inches
    width, height = figure.get_size_inches()
    outside = max(-drawn.x0, -drawn.y0, drawn.x1 - width, drawn.y1 - height)
    assert outside < 0.015, "a text is cut at the edge"
    return written
