"""Chromium opens the site, where there is one: nothing lost, everything reached, no message."""

import shutil
from pathlib import Path

import pytest
from browser import opened, with_chromium
from site_links import broken

from sacd.paper.contents import CONTENTS
from sacd.report import page as report
from sacd.report import verify
from sacd.results import MANIFEST

ROOT = Path(__file__).resolve().parents[2]
SMOKE = ROOT / "results" / "smoke"
DEMO = ROOT / "results" / "demo"

MEASURE = """
  const seen = what => all(what).filter(element => element.offsetHeight).length;
  const found = {
    wide: page.documentElement.scrollWidth - window.innerWidth,
    height: page.documentElement.scrollHeight,
    plots: all(".js-plotly-plot").filter(plot => plot.querySelector(".main-svg")).length,
    maps: all("iframe").filter(f => f.contentDocument.querySelector("#bars div")).length,
    nameless: all("img").filter(image => !image.alt.trim()).length,
  };
  if (page.getElementById("search")) {
    found.cards = seen(".card");
    choose("verdict", "undecided", "change");
    found.verdicts = [...new Set(all(".claim").filter(e => e.offsetHeight)
      .map(e => e.dataset.verdict))];
    choose("verdict", "", "change");
    choose("item", "table5", "change");
    found.of_item = all(".card").filter(e => e.offsetHeight).map(e => e.id);
    choose("item", "", "change");
    choose("search", "JSD costs accuracy in EVERY stage", "input");
    found.searched = all(".claim").filter(e => e.offsetHeight).length;
    choose("search", "", "input");
    found.cards_again = seen(".card");
  }
  found.dark = window.matchMedia("(prefers-color-scheme: dark)").matches;
  found.barriers = problems(window);
  for (const image of all("img")) image.loading = "eager";
  setTimeout(() => {
    const lost = all("img").filter(image => !image.complete || !image.naturalWidth);
    found.lost = lost.map(image => image.src.slice(0, 90));
    tell(found);
  }, 1500);
"""
"""What is measured in every page, and what is tried on the start page."""


def measured(page: Path, width: int, folder: Path, theme: str = "light") -> dict:
    """What `MEASURE` finds in a page."""
    return opened(page, MEASURE, folder, width, theme)


BARRIERS = """<!doctype html><html><head><title></title></head><body style="background:#fff">
<h1 id="a">One</h1><h3 id="a">Three</h3><p style="color:#999">too pale</p><a href="x.html"></a>
<p style="color:#888;font-size:25px">large enough</p><input><nav>?</nav><svg></svg>
<div style="overflow-x:auto;width:50px"><table><tr><td>averyverylongword</td></tr></table></div>
<details><summary>s</summary><p style="background:#888"><b style="color:#aaa">within</b></p>
</details></body></html>"""


@with_chromium
def test_barriers_are_found(tmp_path):
    page = tmp_path / "bad.html"
    page.write_text(BARRIERS)
    found = " | ".join(measured(page, 800, tmp_path)["barriers"])
    said = ("no lang", "no title", "no favicon", "no viewport", "not one main", "skips a level")
    said += ("no name", "no label", "unnamed", "picture without", "two elements #a", "headings")
    said += ("not by keyboard", "too pale", "within")
    assert [text for text in said if text not in found] == [] and "large enough" not in found


@with_chromium
@pytest.mark.skipif(
    not (SMOKE / MANIFEST).is_file(), reason="no smoke results; make reproduce PROFILE=smoke first"
)
@pytest.mark.parametrize("width", [390, 1280])
def test_in_a_browser(tmp_path, width):
    """Smoke results: no dead link, missing figure, console message or request to a host."""
    site = report.build(verify.verify(SMOKE)).parent
    assert broken(site) == []
    for page in sorted(site.glob("*.html")):
        found = measured(page, width, tmp_path)
        assert found["lost"] == [] and found["nameless"] == 0, (page.name, found)
        assert found["barriers"] == [] and found["wide"] <= 0, (page.name, found)
        plots = page.read_text().count('class="plotly-graph-div"')
        assert found["plots"] == plots and found["maps"] == (page.stem == "50_explore"), page.name


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    """Start page of the demo results, built in a copy; its other pages are left out."""
    copy = tmp_path_factory.mktemp("results") / "demo"
    shutil.copytree(DEMO, copy, ignore=shutil.ignore_patterns("report"))
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(report, "write_pages", lambda *a: None)
        return report.build(verify.verify(copy))


@with_chromium
@pytest.mark.slow
@pytest.mark.parametrize(("width", "theme"), [(390, "light"), (1440, "light"), (1440, "dark")])
def test_the_start_page_of_the_demo_in_a_browser(demo, tmp_path, width, theme):
    found = measured(demo, width, tmp_path, theme)
    assert found["dark"] == (theme == "dark"), "the browser takes the theme"
    assert found["lost"] == found["barriers"] == [] and found["nameless"] == 0, found
    assert found["wide"] <= 0 and found["height"] <= 12_000, found
    assert found["cards"] == found["cards_again"] == len(CONTENTS)
    assert found["verdicts"] == ["undecided"], "the filter shows claims of this verdict alone"
    assert found["of_item"] == ["table5"] and found["searched"] == 1


@pytest.mark.slow
def test_the_start_page_of_the_demo_is_small_and_shows_every_notebook(demo):
    assert demo.stat().st_size < 400_000
    text = demo.read_text()
    for notebook in (DEMO / "notebooks").glob("*.ipynb"):
        assert f'href="{notebook.stem}.html"' in text
