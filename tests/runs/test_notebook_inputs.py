"""Parameters of notebooks, and the key of what an execution depends on."""

import nbformat
import pytest
from notebook_files import notebook

from sacd.runs import notebook_inputs
from sacd.runs.notebook import NotebookError, run_notebook
from sacd.runs.notebook_inputs import check_parameters, key_of, parameters_of


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"seed": 1}, "parameter 'seed' is unknown; known: profile: str = 'demo', seeds: int = 3"),
        ({"seeds": "3"}, "parameter 'seeds' = '3': Input should be a valid integer"),
        ({"seeds": True}, "parameter 'seeds' = True"),
        ({"seeds": 1.5}, "parameter 'seeds' = 1.5"),
        ({"seeds": [1]}, r"parameter 'seeds' = \[1\]"),
        ({"profile": 1}, "parameter 'profile' = 1"),
        ({"quick": 1}, "parameter 'quick' = 1"),
        ({"rate": None}, "parameter 'rate' = None"),
    ],
)
def test_wrong_parameters_are_refused_before_a_kernel_starts(tmp_path, no_kernel, given, message):
    source = notebook(tmp_path / "a.ipynb")
    with pytest.raises(NotebookError, match=message) as caught:
        run_notebook(source, tmp_path / "out" / "a.ipynb", given)
    assert "known: profile: str = 'demo', seeds: int = 3, rate: float = 0.001" in str(caught.value)
    assert "\n" not in str(caught.value) and not (tmp_path / "out").exists()


def test_a_parameter_without_default_must_be_given(tmp_path, no_kernel):
    source = notebook(tmp_path / "a.ipynb", parameters="profile: str")
    with pytest.raises(NotebookError, match="parameter 'profile' is missing; known: profile: str"):
        run_notebook(source, tmp_path / "b.ipynb")


def test_a_notebook_without_parameters_takes_none(tmp_path, no_kernel):
    source = notebook(tmp_path / "a.ipynb", parameters=None)
    with pytest.raises(NotebookError, match="unknown; known: none"):
        run_notebook(source, tmp_path / "b.ipynb", {"a": 1})


@pytest.mark.parametrize(
    "cell", ["a = 1", "a: list = [1]", "import os", "a: int = 1\nprint(a)", "a: float = 'x'"]
)
def test_the_parameters_cell_holds_typed_scalars_only(tmp_path, cell):
    with pytest.raises(NotebookError, match=r"a\.ipynb: parameter"):
        check_parameters(notebook(tmp_path / "a.ipynb", parameters=cell), {})


def test_values_take_the_place_of_defaults(tmp_path):
    source = notebook(tmp_path / "a.ipynb")
    assert list(parameters_of(source)) == ["profile", "seeds", "rate", "quick", "limit"]
    values = check_parameters(source, {"profile": "5", "seeds": 5, "quick": False})
    assert values == {"profile": "5", "seeds": 5, "rate": 1e-3, "quick": False, "limit": None}


def test_what_the_key_depends_on(tmp_path):
    def key(*cells, parameters=None, depends=None):
        return key_of(notebook(tmp_path / "a.ipynb", *cells), parameters or {}, depends or {})

    base = key("from sacd import stages")
    assert base == key("from sacd import stages")  # cell ids differ, outputs too: neither counts
    assert base != key("from sacd import config")
    assert base != key("# words", "from sacd import stages")
    assert base != key("from sacd import stages", parameters={"a": 1})
    assert base != key("from sacd import stages", depends={"a": "1"})
    assert key("%matplotlib inline\nimport sacd.stages\n!ls\nif 1:\n    %time 1", "%%bash\nls $X")


def test_the_printed_numbers_enter_the_key(tmp_path, monkeypatch):
    source = notebook(tmp_path / "a.ipynb", "1")
    (tmp_path / "runs").mkdir()
    monkeypatch.setattr(notebook_inputs, "__file__", str(tmp_path / "runs" / "notebook_inputs.py"))
    keys = {key_of(source, {}, {})}
    for text in ("a", "b"):
        (tmp_path / "runs" / "printed.csv").write_text(text)
        keys.add(key_of(source, {}, {}))
    assert len(keys) == 3


def test_outputs_do_not_enter_the_key(tmp_path):
    source = notebook(tmp_path / "a.ipynb", "1")
    before = key_of(source, {}, {})
    made = nbformat.read(source, 4)
    made.cells[-1].outputs = [nbformat.v4.new_output("stream", text="x")]
    made.cells[-1].execution_count = 7
    nbformat.write(made, source)
    assert key_of(source, {}, {}) == before
