"""Pages of notebooks: the answer first, code folded, every picture named, nothing random."""

import base64
import io
import re

import nbformat
import pytest
from PIL import Image

from sacd.report import notebook_page

STAMP = {"profile": "demo", "data": "made <up>"}


def picture(size: tuple[int, int] = (4, 4), dpi: int | None = None) -> str:
    with io.BytesIO() as file:
        Image.new("RGB", size).save(file, "png", dpi=dpi and (dpi, dpi))
        return base64.b64encode(file.getvalue()).decode()


def code(source: str, *tags: str, **data):
    outputs = [nbformat.v4.new_output("execute_result", data)] if data else []
    return nbformat.v4.new_code_cell(source, metadata={"tags": list(tags)}, outputs=outputs)


SENTENCE = "more than this design: the value lies between 0 and the margin"
TABLE = f"<table><tr><th>SACD</th><td>0.29 [0.27, 0.32]</td><td>{SENTENCE}</td></tr></table>"


@pytest.fixture
def folder(tmp_path):
    """Three notebooks; the middle one has everything."""
    cells = [
        nbformat.v4.new_markdown_cell("# A title\n\nBelow [the tour](00_tour.ipynb)."),
        nbformat.v4.new_markdown_cell("> **profile** demo", metadata={"tags": ["stamp"]}),
        code("n = 1", "parameters"),
        nbformat.v4.new_markdown_cell("## A part with $L_D$"),
        code('session.show(figure, "fig6")', **{"image/png": picture()}),
        code("plain()", **{"image/png": picture(), "text/plain": "drawn"}),
        code("frame", **{"text/html": TABLE}),
        code("w", **{notebook_page._WIDGET: {}, "text/plain": "interactive(x)"}),
        code("session.answer('so')", "answer", **{"text/markdown": "> **In short**: so."}),
    ]
    (tmp_path / "notebooks").mkdir()
    for name in ("00_tour", "31_fig6_confusion", "50_explore"):
        made = nbformat.v4.new_notebook(cells=cells, metadata={"sacd": {"stamp": STAMP}})
        nbformat.write(made, tmp_path / "notebooks" / f"{name}.ipynb")
    notebook_page.write_pages(tmp_path / "notebooks", tmp_path / "report")
    return tmp_path


def body(folder) -> str:
    text = (folder / "report" / "31_fig6_confusion.html").read_text()
    return text[text.index("<body") :]


def test_title_then_answer_then_text_and_code_is_folded(folder):
    text = body(folder)
    places = [text.index(part) for part in ("<h1", "In short", "Below", "A part with", "<footer>")]
    assert places == sorted(places) and text.count("In short") == 1
    assert text.count('<details class="code">') == 6 and "<summary>Parameters</summary>" in text
    outside = re.sub(r"<details.*?</details>", "", text, flags=re.DOTALL)
    assert "session" not in outside and "interactive(x)" not in text


def test_a_sentence_in_a_table_may_take_several_lines_and_a_number_may_not(folder):
    text = body(folder)
    assert f'<td class="long">{SENTENCE}</td>' in text and text.count('class="long"') == 1
    assert "<th>SACD</th><td>0.29 [0.27, 0.32]</td>" in text


def test_pages_follow_the_order_of_the_items(folder):
    text = body(folder)
    assert 'href="00_tour.html" rel="prev"' in text and 'href="50_explore.html" rel="next"' in text
    assert 'href="00_tour.html">the tour</a>' in text
    assert 'rel="prev"' not in (folder / "report" / "00_tour.html").read_text()
    assert 'href="#part-1">A part with L_D</a>' in text and 'id="part-1"' in text


def test_pictures_are_named_and_what_scrolls_can_be_reached(folder):
    text = body(folder)
    alts = re.findall(r"<img[^>]*?alt=\"([^\"]*)\"", text.replace("\n", " "))
    assert "Fig. 6: confusion matrices and their differences" in alts
    assert "Figure: A part with L_D" in alts and "L_D" in alts and len(alts) == 3
    (scrolls,) = re.findall(r'<[^>]*class="wide"[^>]*>', text)
    assert 'tabindex="0"' in scrolls and 'aria-label="Table: A part with L_D"' in scrolls


@pytest.mark.parametrize(
    ("width", "dpi", "shown"), [(2160, 300, 958), (1440, 300, 638), (720, 100, 720), (50, None, 50)]
)
def test_letters_of_all_figures_have_one_size(width, dpi, shown):
    assert notebook_page._width(picture((width, 4), dpi)) == shown


def test_the_footer_says_where_the_page_comes_from(folder):
    footer = body(folder).partition("<footer>")[2]
    assert "made &lt;up&gt;" in footer and "../notebooks/31_fig6_confusion.ipynb" in footer
    assert "**profile**" not in body(folder)


def test_a_second_writing_gives_equal_bytes(folder):
    again = folder / "again"
    notebook_page.write_pages(folder / "notebooks", again)
    for page in (folder / "report").iterdir():
        assert (again / page.name).read_bytes() == page.read_bytes()
