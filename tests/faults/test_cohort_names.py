"""A cohort's name is shown as it is written, wherever it stands, and is never live."""

import json
import re
from html.parser import HTMLParser

import made_up_results
import mistune
import nbformat
import pandas as pd
import pytest
from matplotlib.figure import Figure

from sacd.analysis import tables
from sacd.analysis.latex import escaped
from sacd.escape import as_markdown, one_line
from sacd.experiments.intake import show
from sacd.experiments.items import NOTEBOOKS, Notebook
from sacd.experiments.session import Session
from sacd.experiments.workspace import Workspace
from sacd.figures import base, explorer
from sacd.report import page, verify
from sacd.report.cards import answer_of, inline
from sacd.report.notebook_page import to_html
from sacd.report.summary import claims_markdown
from sacd.runs.notebook_copies import stamped
from sacd.runs.notebook_inputs import parameters_of

NAMES = (
    "<img src=x onerror=alert(1)>",
    "<script>alert(1)</script>",
    "</title></style><script>1</script>",
    '"><svg onload=1>',
    "a & b &lt;script&gt;",
    "[x](javascript:alert(1)) ![y](http://a/b.png)",
    "[x][y] `code` **bold** _it_ ~~s~~ a|b|c",
    "50 % of $x_1$ and $HOME #1 {a} \\input{/etc/passwd} ^~",
    "cohort (site A): second",
    "[red]x[/red] [/img]",
    "睡眠 sömn",
)
IN_A_REPORT = (*NAMES[2:8], NAMES[-1])
"""One name of each kind that a report could misread, since a report takes seconds."""


class Tags(HTMLParser):
    """Tags and attributes that a browser would see, and the text of the page."""

    def __init__(self, html):
        super().__init__()
        self.live, self.text = [], ""
        self.feed(html)

    def handle_starttag(self, tag, attributes):
        names = {name for name, _ in attributes}
        targets = [value or "" for name, value in attributes if name in ("href", "src")]
        if any(name.startswith("on") for name in names) or tag in ("svg", "del", "em"):
            self.live.append((tag, attributes))
        if any(target.startswith(("javascript:", "http://a")) for target in targets):
            self.live.append((tag, attributes))

    def handle_data(self, data):
        self.text += data


def shown(html):
    tags = Tags(html)
    assert tags.live == [] and "<script>alert" not in html and "<script>1" not in html
    return " ".join(tags.text.split())


@pytest.mark.parametrize("name", NAMES)
def test_markdown_shows_the_name(name):
    html = mistune.html(f"Data: **{as_markdown(name)}**.")
    assert shown(html) == f"Data: {name}." and "<code>" not in html
    assert shown(str(inline(f"on {as_markdown(name)}"))) == f"on {name}"


@pytest.mark.parametrize("name", NAMES)
def test_an_answer_and_a_stamp_show_the_name(name, tmp_path, monkeypatch):
    monkeypatch.setitem(NOTEBOOKS, "50_explore", Notebook("50_explore", lambda w: {}, (), _none))
    declared = parameters_of(NOTEBOOKS["50_explore"].source)
    given = {key: default for key, (_, default) in declared.items()} | {"root": str(tmp_path)}
    session = Session("50_explore", given)
    session.data_name = name
    answer = session.answer("no effect.").data
    output = nbformat.v4.new_output("display_data", {"text/markdown": answer})
    cells = [
        nbformat.v4.new_markdown_cell("# Title"),
        nbformat.v4.new_code_cell("1", outputs=[output], metadata={"tags": ["answer"]}),
    ]
    copy = tmp_path / "a.ipynb"
    copy.write_text(stamped(nbformat.v4.new_notebook(cells=cells), {}, {"data": name}))
    text = shown(to_html(copy, tmp_path / "a.html").read_text())
    assert f"In short ({name}): no effect." in text and text.count(name) == 2
    assert answer_of(copy) == "No effect."
    stamp = json.loads(copy.read_text())["cells"][1]["source"]
    assert shown(mistune.html(stamp)) == f"data {name}"


def _none(w):
    return ()


@pytest.mark.slow
@pytest.mark.parametrize("name", IN_A_REPORT)
def test_the_report_shows_the_name(name, tmp_path, monkeypatch):
    """Its summary figure is left out: the name on a figure is the next test's."""
    monkeypatch.setattr(page, "write_overview", lambda v: None)
    space = made_up_results.make(tmp_path, monkeypatch, data=name, simulated=False)
    found = verify.verify(space.results)
    verify.write(found)
    index = page.build(found).read_text()
    assert shown(index).count(name) >= 3, "below the title, in the status, among the facts"
    for text in ((space.results / "verify.md").read_text(), claims_markdown(found)):
        assert f"Data: {name}." in shown(mistune.html(text))
    table = (space.results / "tables" / "table2.md").read_text()
    assert f"Data: {name};" in shown(mistune.html(table))
    caption = re.search(r"\\caption\{(.*)\}", (space.results / "tables" / "table2.tex").read_text())
    assert f"Data: {escaped(name)};" in caption[1] and r"\input" not in caption[1]


@pytest.mark.parametrize("name", NAMES)
def test_a_figure_and_a_plot_show_the_name(name, tmp_path):
    figure = base.label_data(Figure(layout="constrained"), name, 3, 4)
    [text] = figure.texts
    assert text.get_text().startswith(name) and not text.get_parse_math()
    figure.draw_without_rendering()
    content = {"runs": [{"name": "a"}], "subjects": [], "data": name}
    [text] = re.findall(r'<script[^>]*id="data">(.*?)</script>', explorer.page(content), re.S)
    assert json.loads(text)["data"] == name and "<" not in text  # it is set as text, not as HTML


@pytest.mark.parametrize("name", NAMES)
def test_a_table_on_the_screen_shows_the_name(name, capsys):
    show(pd.DataFrame({"file": [name]}), name)
    assert " ".join(capsys.readouterr().out.split())[:20] in name or len(name) < 20


def test_no_html_begins_in_a_cell_of_a_table():
    table = pd.DataFrame({"sex": ["<b>F</b>\nx", "p < 0.01", "**bold** [a](b)"]})
    html = mistune.create_markdown(plugins=["table"])(tables.markdown(table))
    assert "<b>" not in html and "&lt;b&gt;F&lt;/b&gt; x" in html
    assert "<strong>bold</strong>" in html and '<a href="b">' in html and "p &lt; 0.01" in html


def test_a_name_is_one_line_of_some_length(tmp_path):
    root = tmp_path / "lab"
    root.mkdir()
    (root / "dataset_description.json").write_text(
        json.dumps({"Name": "a\n\nb\x1b[31m" + "c" * 999})
    )
    (root / "participants.tsv").write_text("participant_id\tahi\n")
    assert one_line("a\n\nb\x1b[31m" + "c" * 999).startswith("a b [31mccc")
    w = Workspace("smoke", root, root=tmp_path)
    try:
        name = w.data_name
    except ValueError as error:  # no participant: the name is not reached
        assert "participants.tsv" in str(error)
    else:
        assert name.isprintable() and len(name) < 140
