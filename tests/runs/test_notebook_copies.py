"""Executed copies of notebooks: links that stay valid in another folder."""

import re

from sacd.runs.notebook_copies import relink


def test_links_of_a_copy_lead_to_the_same_files(tmp_path):
    source, target = tmp_path / "notebooks", tmp_path / "results" / "demo" / "notebooks"
    for folder in (source, target, tmp_path / "docs"):
        folder.mkdir(parents=True)
    (tmp_path / "docs" / "tables.md").touch()
    lines = ["See [tables](../docs/tables.md)\n", "and [the tour](00_tour.ipynb)."]
    code = {"cell_type": "code", "source": ["print('](../docs')"]}
    notebook = {"cells": [{"cell_type": "markdown", "source": lines}, code]}
    relink(notebook, source, target)
    text = "".join(notebook["cells"][0]["source"])
    first, second = re.findall(r"\]\((.*?)\)", text)
    assert (target / first).resolve() == tmp_path / "docs" / "tables.md"
    assert second == "00_tour.ipynb", "other notebooks lie beside the copy"
    assert notebook["cells"][1]["source"] == ["print('](../docs')"]
