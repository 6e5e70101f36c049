"""Notebooks that tests execute or refuse."""

import nbformat

PARAMETERS = """profile: str = "demo"
seeds: int = 3
rate: float = 1e-3
quick: bool = True
limit: int | None = None"""


def notebook(path, *cells, parameters=PARAMETERS):
    """Write a notebook; a cell that starts with # and a space is markdown."""
    new = nbformat.v4
    made = [new.new_markdown_cell("# Title\nwords")]
    if parameters is not None:
        made.append(new.new_code_cell(parameters, metadata={"tags": ["parameters"]}))
    made += [(new.new_markdown_cell if c.startswith("# ") else new.new_code_cell)(c) for c in cells]
    nbformat.write(new.new_notebook(cells=made), path)
    return path


def write(path):
    return f"from pathlib import Path\nPath({str(path)!r}).write_text('x')"
