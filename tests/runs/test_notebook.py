"""The notebook runner: what it refuses, what it calls failed, what it leaves behind."""

import json
import os
import subprocess
import sys
import time

import nbformat
import psutil
import pytest
from notebook_files import notebook, write

from sacd.files import sha256
from sacd.report.notebook_page import to_html
from sacd.runs.notebook import NotebookError, main, record_of, run_notebook
from sacd.runs.notebook_inputs import check_parameters, is_current, key_of


@pytest.mark.slow
def test_success(tmp_path):
    result = tmp_path / "results" / "table.csv"
    result.parent.mkdir()
    check = (
        f"import sys, os\nassert sys.executable == {sys.executable!r} "
        "and seeds == 5 and profile == 'demo'"
    )
    source = notebook(
        tmp_path / "a.ipynb",
        check,
        write(result),
        "print(os.environ['TQDM_MININTERVAL'], '\\n' * 3)",
    )
    output = tmp_path / "results" / "notebooks" / "a.ipynb"
    stamp = {"profile": "demo", "data": "simulated cohort", "runs": "0123"}
    options = {"expects": [result], "stamp": stamp, "depends": {"run": "0123"}}
    environment = dict(os.environ)
    assert run_notebook(source, output, {"seeds": 5}, **options) == "executed"
    assert dict(os.environ) == environment
    made = nbformat.read(output, 4)
    nbformat.validate(made)
    assert made.cells[1].source == "> **profile** demo · **data** simulated cohort · **runs** 0123"
    assert made.metadata.kernelspec.name == "python3"
    assert made.metadata.sacd.parameters.seeds == 5 and list(made.metadata.sacd.results) == [
        "results/table.csv"
    ]
    assert str(tmp_path) not in json.dumps(made.metadata)
    assert sorted(p.name for p in output.parent.iterdir()) == [
        ".a.ipynb.lock",
        ".a.json",
        "a.ipynb",
    ]
    record = json.loads(record_of(output).read_text())
    assert (
        record["content"] == sha256(output)
        and record["duration_s"] > 0
        and record["started"].startswith("20")
    )

    bytes_before = output.read_bytes()
    assert (
        run_notebook(source, output, {"seeds": 5}, **options | {"stamp": {"profile": "other"}})
        == "skipped"
    )
    assert output.read_bytes() == bytes_before
    for change in ({"seeds": 6}, {"seeds": 5, "depends": {"run": "4567"}}):
        depends = change.pop("depends", options["depends"])
        assert key_of(source, check_parameters(source, change), depends) != made.metadata.sacd.key
    result.write_text("altered")
    assert run_notebook(source, output, {"seeds": 5}, **options) == "executed"
    assert result.read_text() == "x"
    assert output.read_bytes() == bytes_before  # on another day, in another kernel

    page = to_html(output, output.with_suffix(".html"))
    text = page.read_text()
    assert "simulated cohort" in text and page.name == "a.html"
    for loading in (
        'src="http',
        "src='http",
        'src="//',
        'stylesheet" href="http',
        "cdnjs.cloudflare.com",
        "url(http",
    ):
        assert loading not in text


@pytest.mark.slow
def test_altered_outputs_are_not_current(tmp_path):
    table, cells = tmp_path / "fig7.csv", []
    for name in ("fig7.csv", "fig7.tex", "fig7.pdf", "fig7_more.md"):
        cells.append(write(tmp_path / name))
    (tmp_path / "fig70.tex").touch()  # of another item
    source = notebook(tmp_path / "a.ipynb", *cells, "print('accuracy 50')", parameters=None)
    output = tmp_path / "out" / "a.ipynb"
    assert run_notebook(source, output, expects=[table]) == "executed"
    key = key_of(source, {}, {})
    for path in (tmp_path / "fig7.tex", tmp_path / "fig7.pdf", tmp_path / "fig7_more.md", output):
        made = path.read_text()
        path.write_text(made.replace("accuracy 50", "accuracy 90") if path == output else "better")
        assert path.read_text() != made and not is_current(output, key, [table])
        path.write_text(made)
    (tmp_path / "fig70.tex").write_text("changed")
    assert run_notebook(source, output, expects=[table]) == "skipped"


def test_a_plotly_figure_stays_interactive_without_network(tmp_path):
    figure = {
        "data": [{"type": "scatter", "x": [1], "y": [2], "text": ["</script>"]}],
        "layout": {"width": 300},
    }
    output = nbformat.v4.new_output("display_data", {"application/vnd.plotly.v1+json": figure})
    cells = [nbformat.v4.new_code_cell("show()", outputs=[output]) for _ in range(2)]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), tmp_path / "a.ipynb")
    text = to_html(tmp_path / "a.ipynb", tmp_path / "out" / "a.html").read_text()
    assert text.count("Plotly.newPlot(") == 2 and text.count('src="plotly.min.js"') == 1
    assert text.count("</script>") == text.count("<script") and '"showSendToCloud": false' in text
    assert "newPlot" in (tmp_path / "out" / "plotly.min.js").read_text()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("cell", "message"),
    [
        ("def f():\n    raise KeyError('deep')\nf()", "KeyError: 'deep'"),
        ("pass", "it ended without writing"),
        ("import sys; sys.exit(3)", "SystemExit: 3"),
        ("import os; os._exit(1)", "the kernel died"),
        ("import threading; threading.Event().wait()", "a cell took more than 1 s"),
        ("print('x' * 2_200_000)", r"has 2\.[0-9] MB, more than 2"),
    ],
)
def test_failures_are_named_and_kept_elsewhere(tmp_path, cell, message):
    result = tmp_path / "table.csv"
    written = [write(result)] if "2_200_000" in cell else []
    source = notebook(
        tmp_path / "a.ipynb", *written, "# ## Where it breaks\nwords", cell, parameters=None
    )
    output = tmp_path / "out" / "a.ipynb"
    with pytest.raises(NotebookError, match=message) as caught:
        run_notebook(
            source, output, expects=[result], **({"timeout_s": 1} if "wait()" in cell else {})
        )
    copy = tmp_path / "out" / "failed" / "a.ipynb"
    assert f"copy: {copy}" in str(caught.value) and str(source) in str(caught.value)
    if "Where" in message or "KeyError" in message or "kernel died" in message:
        assert "in the part 'Where it breaks'" in str(caught.value)
    assert not output.exists() and nbformat.read(copy, 4).cells
    assert len(str(caught.value).splitlines()) <= 20


@pytest.mark.slow
def test_an_old_result_file_does_not_count(tmp_path):
    result = tmp_path / "table.csv"
    result.write_text("from last year")
    with pytest.raises(NotebookError, match="without writing"):
        run_notebook(
            notebook(tmp_path / "a.ipynb", "1", parameters=None),
            tmp_path / "b.ipynb",
            expects=[result],
        )


@pytest.mark.slow
def test_a_failure_leaves_the_last_good_copy(tmp_path):
    source, output = (
        notebook(tmp_path / "a.ipynb", "1", parameters=None),
        tmp_path / "out" / "a.ipynb",
    )
    run_notebook(source, output)
    good = output.read_bytes()
    notebook(source, "1 / 0", parameters=None)
    with pytest.raises(NotebookError, match="ZeroDivisionError"):
        run_notebook(source, output)
    assert output.read_bytes() == good
    notebook(source, "2", parameters=None)
    run_notebook(source, output)
    assert not (output.parent / "failed" / "a.ipynb").exists()


def test_a_kernel_that_does_not_start_is_an_error(tmp_path, monkeypatch):
    def refuse(*arguments, **options):
        raise RuntimeError("Kernel died before replying to kernel_info")

    monkeypatch.setattr("papermill.execute_notebook", refuse)
    with pytest.raises(NotebookError, match=r"the kernel of .* did not start: Kernel died"):
        run_notebook(notebook(tmp_path / "a.ipynb", "1", parameters=None), tmp_path / "b.ipynb")


def test_command_line(tmp_path, capsys, no_kernel):
    source = notebook(tmp_path / "a.ipynb")
    assert main([str(source), str(tmp_path / "b.ipynb"), '{"parameters": {"seed": 1}}']) == 1
    assert capsys.readouterr().err.startswith("error: ") and not (tmp_path / "b.ipynb").exists()


@pytest.mark.slow
def test_two_processes_side_by_side(tmp_path):
    processes = []
    for name in "ab":
        result = tmp_path / f"{name}.csv"
        cells = write(result), f"assert seeds == {ord(name)}"
        source = notebook(tmp_path / f"{name}.ipynb", *cells)
        options = {"parameters": {"seeds": ord(name)}, "expects": [str(result)]}
        command = [sys.executable, "-m", "sacd.runs.notebook", str(source)]
        command += [str(tmp_path / "out" / source.name), json.dumps(options)]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        processes.append(subprocess.Popen(command, **pipes))
    for process in processes:
        out, err = process.communicate()
        assert process.returncode == 0, err
        assert out.strip().endswith(": executed")
    left = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert left == [".a.ipynb.lock", ".a.json", ".b.ipynb.lock", ".b.json", "a.ipynb", "b.ipynb"]


@pytest.mark.slow
def test_a_stopped_runner_takes_its_kernel_along(tmp_path):
    started = tmp_path / "started"
    cell = f"{write(started)}\nimport threading; threading.Event().wait()"
    source = notebook(tmp_path / "a.ipynb", cell, parameters=None)
    process = subprocess.Popen(
        [sys.executable, "-m", "sacd.runs.notebook", str(source), str(tmp_path / "b.ipynb")]
    )
    while not started.exists():
        assert process.poll() is None
        time.sleep(0.1)
    kernels = psutil.Process(process.pid).children()
    process.kill()
    process.wait()
    psutil.wait_procs(kernels)  # for as long as it takes them
    assert kernels and not (tmp_path / "b.ipynb").exists()
