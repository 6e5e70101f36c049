"""Notebooks that end early, or hold what Jupyter allows and Python does not."""

import json

import pytest
from notebook_files import notebook, write

from sacd.runs.notebook import main, run_notebook
from sacd.runs.notebook_inputs import NotebookError, key_of, python_of

LEFT = "a cell left with SystemExit, so the cells after it were not executed"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("cells", "said"),
    [
        (["# # Part", "import sys\nsys.exit(0)"], f"in the part 'Part': {LEFT}"),
        (["exit"], LEFT),
        (["raise SystemExit"], LEFT),
        (["%%bash\nexit 3"], "returned non-zero exit status 3"),
        (["%notamagic"], "UsageError: Line magic function `%notamagic` not found."),
        (["%%notamagic\nx"], "UsageError: Cell magic `%%notamagic` not found."),
        (["x ="], "code cell 1: invalid syntax (<unknown>, line 1); correct it"),
    ],
)
def test_what_is_not_executed_to_its_end_is_no_result(tmp_path, cells, said):
    written, out = tmp_path / "table.csv", tmp_path / "out" / "a.ipynb"
    source = notebook(tmp_path / "a.ipynb", *cells, write(written), parameters=None)
    with pytest.raises(NotebookError) as caught:
        run_notebook(source, out)
    assert said in str(caught.value)
    assert not out.exists() and not written.exists()


@pytest.mark.slow
def test_exit_in_the_last_cell_is_an_error_too(tmp_path):
    out = tmp_path / "out" / "a.ipynb"
    with pytest.raises(NotebookError, match=LEFT):
        run_notebook(notebook(tmp_path / "a.ipynb", "1", "exit()", parameters=None), out)
    assert not out.exists()


@pytest.mark.slow
def test_what_jupyter_allows_is_executed(tmp_path):
    cells = (
        "files = !echo one",
        "if files:\n    !true\nassert files == ['one']",
        "import json\njson.dumps?",
        "%%bash\ntrue",
        "%%time\nfrom sacd import stages",
        "get_ipython().system('true')",
        "try:\n    exit()\nexcept SystemExit:\n    stayed = True",
        "assert stayed",
    )
    source = notebook(tmp_path / "a.ipynb", *cells, parameters=None)
    assert run_notebook(source, tmp_path / "out" / "a.ipynb") == "executed"


def test_code_below_a_cell_magic_counts(tmp_path):
    def key(*cells):
        return key_of(notebook(tmp_path / "a.ipynb", *cells, parameters=None), {}, {})

    assert "from sacd import stages" in python_of("%%time\nfrom sacd import stages")
    assert python_of("%%bash\nnot python (").count("not python (") == 1
    assert key("%%time\n1") != key("%%time\n2")
    plain = "from sacd.stages import label"
    assert python_of(plain) == plain and key(plain) == key(plain)


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"cells": 3}', '{"cells": [{}], "metadata": {}}', "[" * 100_000]
)
def test_a_file_that_is_no_notebook_is_one_line(tmp_path, capsys, text):
    source = tmp_path / "a.ipynb"
    source.write_text(text)
    assert main([str(source), str(tmp_path / "out.ipynb")]) == 1
    [line] = capsys.readouterr().err.splitlines()
    assert line == f"error: {source}: is not a notebook of format 4; save it again in JupyterLab"
    assert not (tmp_path / "out.ipynb").exists()


@pytest.mark.parametrize(
    ("cell", "said"),
    [
        ("a: int = ", "invalid syntax"),
        ("a: int = len('a')", "its value is not a literal"),
        ("!ls", "invalid syntax"),
        ("a = 1", "is not of the form"),
    ],
)
def test_a_parameters_cell_that_cannot_be_read_is_one_line(tmp_path, capsys, cell, said):
    source = notebook(tmp_path / "a.ipynb", parameters="a: int = 1")
    content = json.loads(source.read_text())
    content["cells"][1]["source"] = cell
    source.write_text(json.dumps(content))
    assert main([str(source), str(tmp_path / "out.ipynb")]) == 1
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith(f"error: {source}: parameters cell: ") and said in line
