"""The interactive map answers in a browser: choose, point, click, arrow keys, no message."""

import base64
import io

import numpy as np
import pytest
from browser import opened, with_chromium
from PIL import Image

from sacd.figures import explorer
from sacd.stages import AHI_COLOURS, AHI_GROUPS, COLOURS, STAGES


def text(values, kind) -> str:
    return base64.b64encode(np.asarray(values, kind).tobytes()).decode()


@pytest.fixture(params=[True, False], ids=["with frames", "without frames"])
def frames(request):
    """A picture of 24 frames of 24 x 32 in one row; empty where none may be shown."""
    with io.BytesIO() as file:
        Image.new("L", (64 * 32, 24), 128).save(file, "png")
        return base64.b64encode(file.getvalue()).decode() if request.param else ""


@pytest.fixture
def content(frames):
    """Two nights of 6 clips on a grid; the second has signals. In the second run all are wrong.

    The second night has two parts.
    """
    stage = np.array([0, 1, 2, 2, 3, 4] * 2)
    xy = [(400 * (k % 6) + 1000, 2000 * (k // 6) + 500) for k in range(12)]
    p = np.full((12, 5), 10)
    p[np.arange(12), stage] = 60
    run = {"xy": text(xy, "<u2"), "p": text(p, np.uint8)}
    runs = [
        run | {"name": "SACD <b>", "prediction": text(stage, np.uint8)},
        run | {"name": "alone", "prediction": text((stage + 1) % 5, np.uint8)},
    ]
    return {
        "data": "made-up data", "note": "Shown are 2 of 3.",
        "begins": text([1, 0, 0, 0, 0, 0, 1, 0, 0, 0, 1, 0], np.uint8),
        "stages": list(STAGES), "colours": list(COLOURS.values()),
        "groups": list(AHI_GROUPS), "groupColours": list(AHI_COLOURS.values()),
        "subjects": ["s1", "s2"], "ahi": [2.0, 31.5], "group": [0, 3],
        "subject": text([0] * 6 + [1] * 6, "<u2"), "clip": text([*range(6)] * 2, "<u2"),
        "stage": text(stage, np.uint8), "signal": text([65535] * 6 + [*range(6)], "<u2"),
        "eeg": text(np.arange(6 * 960) % 50, np.int8), "movement": text(range(6 * 15), np.uint8),
        "samples": 960, "step": 2, "moved": 0.05, "seconds": 30, "runs": runs,
        "frames": frames, "perClip": 4, "across": 64,
    }  # fmt: skip


DRIVE = """
  const map = page.getElementById("map"), said = id => page.getElementById(id).textContent;
  const place = (x, y) => {  // of a clip, as the map draws it
    const box = map.getBoundingClientRect();
    return { clientX: box.left + box.width * (0.03 + 0.94 * x / 4095),
             clientY: box.top + box.height * (0.97 - 0.94 * y / 4095), bubbles: true };
  };
  const act = (kind, x, y) => map.dispatchEvent(new window.MouseEvent(kind, place(x, y)));
  const press = key => map.dispatchEvent(new window.KeyboardEvent("keydown", { key }));
  const films = () => page.getElementById("seen").hidden ? [] : all("#frames div").map(e => {
    const style = window.getComputedStyle(e);
    return style.backgroundImage.startsWith("url") ? style.backgroundPositionX : "empty"; });
  const legend = () => all(".key").map(e => e.textContent);
  const found = { start: said("what"), barriers: problems(window),
    wide: page.documentElement.scrollWidth - window.innerWidth,
    runs: all("#run option").map(e => e.textContent) };
  const points = what => all(what)[0].getAttribute("points").split(" ").length;
  act("mousemove", 1400, 500); found.hovered = said("what"); found.none = said("wave");
  found.unseen = films();
  found.bars = all("#bars div").map(e => e.style.width);
  act("click", 1800, 2500); act("mousemove", 4000, 4000);
  found.clicked = said("what"); found.points = points("#wave polyline");
  found.note = said("note");
  found.parts = all("#night polyline").map(e => e.getAttribute("points").split(" ").length);
  found.gaps = all("#night rect").map(e => +e.getAttribute("x"));
  found.beside = all("#night circle").map(e => +e.getAttribute("cx")).slice(3, 5);
  found.marks = all("#night line").length; found.night = all("#night circle").length;
  found.moves = points("#moves polyline"); found.films = films();
  press("ArrowRight"); press("ArrowRight"); found.stepped = said("what");
  for (let k = 0; k < 9; k++) press("ArrowRight");
  found.end = said("what");
  found.legends = {};
  for (const colour of ["stage", "prediction", "error", "ahi", "subject"]) {
    choose("colour", colour, "change"); found.legends[colour] = legend();
  }
  choose("run", "1", "change"); found.wrong = said("size"); found.after = said("what");
  choose("only", "2", "change"); found.only = said("size");
  act("mousemove", 1800, 500); found.stays = said("what");
  act("mousemove", 4000, 4000); act("mousemove", 1000, 500); found.hidden = said("what");
  choose("who", "1", "change"); found.both = said("size");
  tell(found);
"""


@with_chromium
@pytest.mark.parametrize(("width", "theme"), [(390, "light"), (1100, "dark")])
def test_choose_point_click_and_step(content, frames, tmp_path, width, theme):
    page = tmp_path / "explore.html"
    page.write_text(explorer.page(content))
    found = opened(page, DRIVE, tmp_path, width, theme)
    assert found["barriers"] == [] and found["wide"] <= 0 and found["runs"] == ["SACD <b>", "alone"]
    assert found["start"].startswith("s2, clip 0"), "the first clip with signals"
    assert found["hovered"] == (
        "s1, clip 1: scored N1, predicted N1 (right). AHI 2/h, Normal."
    ) and found["none"].startswith("Not in the file")
    assert found["bars"] == ["10%", "60%", "10%", "10%", "10%"]
    assert found["clicked"].startswith("s2, clip 2: scored N2"), "kept when the pointer leaves"
    assert (found["points"], found["moves"], found["marks"], found["night"]) == (960, 15, 1, 6)
    assert found["note"] == "Shown are 2 of 3."
    assert found["parts"] == [7, 3], "steps of four clips and of two: no line joins the parts"
    assert len(found["gaps"]) == 1 and found["beside"][0] < found["gaps"][0] < found["beside"][1]
    # Clip 2 of the second night is the third with signals: frames 8 to 11 of 64 side by side.
    places = [float(place.removesuffix("%")) for place in found["films"]]
    assert places == pytest.approx([100 * k / 63 for k in range(8, 12)] if frames else [], abs=0.01)
    assert found["unseen"] == [], "no frames of a night without signals"
    assert found["stepped"].startswith("s2, clip 4") and found["end"].startswith("s2, clip 5")
    legends = found["legends"]
    assert legends["stage"] == ["W (2)", "N1 (2)", "N2 (4)", "N3 (2)", "REM (2)"]
    assert legends["prediction"] == legends["stage"] and legends["error"] == ["right (12)"]
    assert legends["ahi"] == ["Normal (6)", "Severe (6)"] and legends["subject"][1] == "s2 (6)"
    assert "12 of 12" in found["wrong"] and " 0 % of them correctly predicted" in found["wrong"]
    assert "predicted W (wrong)" in found["after"] and "4 of 12" in found["only"]
    assert found["stays"].startswith("s1, clip 2"), "filtering moves no clip"
    assert found["hidden"].startswith("s2, clip 5"), "a clip that is filtered out is not hit"
    assert "2 of 12" in found["both"]


def test_the_page_needs_no_network_and_starts_as_asked(content):
    page = explorer.page(content, run="alone", subject="s2")
    assert '"run": 1, "who": 1' in page and "http" not in page and "<b>" not in page
    framed = explorer.framed(content)
    assert framed.count("<") == 4 and 'srcdoc="&lt;!doctype html' in framed
