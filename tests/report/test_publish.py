"""The report in one file, and the archives: complete, small, equal bytes, no date."""

import base64
import io
import re
import shutil
import zipfile
from pathlib import Path

import pytest
from PIL import Image

from sacd.report import page, publish, verify
from sacd.results import ONE_FILE, OVERVIEW, listed_files

pytestmark = pytest.mark.slow  # builds the site

DEMO = Path(__file__).resolve().parents[2] / "results" / "demo"
MIB = 2**20


def test_one_file_holds_its_pictures_and_links_what_lies_beside_it(results):
    text = (results / ONE_FILE).read_text()
    sources = re.findall(r'<img src="([^"]*)"', text)
    assert len(sources) == 2, "the summary and the one figure"
    for source in sources:
        kind, _, data = source.partition(",")
        with Image.open(io.BytesIO(base64.b64decode(data))) as image:
            assert kind == "data:image/png;base64" and image.width <= max(publish.WIDTHS.values())
    links = [link for link in re.findall(r'href="([^"#][^"]*)"', text) if "://" not in link]
    files = [link for link in links if not link.startswith("data:")]
    assert "notebooks/20_table2_comparison.ipynb" in files and OVERVIEW in files
    assert all((results / name).is_file() for name in files)
    assert 'src="../' not in text and str(results) not in text


def test_one_file_is_no_part_of_the_manifest_and_is_made_again_only_if_needed(results, monkeypatch):
    first = (results / ONE_FILE).read_bytes()
    assert ONE_FILE not in listed_files(results)
    monkeypatch.setattr(page, "embedded", lambda *a: pytest.fail("nothing has changed"))
    page.build(verify.verify(results))
    monkeypatch.undo()
    (results / ONE_FILE).unlink()
    page.build(verify.verify(results))
    assert (results / ONE_FILE).read_bytes() == first
    shutil.copy(results / OVERVIEW, results / "figures" / "a.png")
    page.build(verify.verify(results))
    assert (results / ONE_FILE).read_bytes() != first, "the figure changed"


def test_one_file_does_not_tell_what_differs_from_the_committed_results(results):
    found = verify.verify(results)
    found.drift.problems.append("a number drifted")
    found.problems.extend(["a number drifted", "a file is missing"])
    index = page.build(found).read_text()
    text = (results / ONE_FILE).read_text()
    assert "a number drifted" in index and "a number drifted" not in text
    assert "a file is missing" in index and "a file is missing" in text


def test_archives_hold_all_files_and_have_equal_bytes(results):
    folder = results / "report"
    index = (folder / "index.html").read_text()
    for name, (source, _) in publish.ZIPS.items():
        first = (folder / name).read_bytes()
        with zipfile.ZipFile(folder / name) as archive:
            assert {entry.date_time[0] for entry in archive.infolist()} == {1980}
            assert archive.namelist() == sorted(
                f"{source}/{path.name}" for path in (results / source).iterdir()
            )
            assert all(archive.read(x) == (results / x).read_bytes() for x in archive.namelist())
        (folder / name).unlink()
        publish.write_zips(results, folder)
        assert (folder / name).read_bytes() == first and f'href="{name}"' in index


def test_a_picture_becomes_small_and_keeps_its_shape(tmp_path):
    Image.new("RGB", (1800, 900), "navy").save(tmp_path / "a.png")
    data = publish.as_data(tmp_path / "a.png", 640).partition(",")[2]
    with Image.open(io.BytesIO(base64.b64decode(data))) as image:
        assert image.size == (640, 320) and image.convert("RGB").getpixel((9, 9)) == (0, 0, 128)


@pytest.mark.skipif(not (DEMO / ONE_FILE).is_file(), reason="no demo report here")
def test_the_published_report_is_small_and_linked_by_the_readme():
    assert (DEMO / ONE_FILE).stat().st_size < 2 * MIB
    assert f"results/demo/{ONE_FILE}" in (DEMO.parents[1] / "README.md").read_text()
