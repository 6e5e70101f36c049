"""A site that is built once in a file of tests, and copied by those that change it."""

import shutil

import made_up_results
import pytest

from sacd.report import page, verify
from sacd.results import OVERVIEW


@pytest.fixture(scope="module", autouse=True)
def _coarse(coarse_figures):
    """For every test here: the figure of a page is drawn each time that the page is built."""


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """Made-up results with their site. Only to be read."""
    with pytest.MonkeyPatch.context() as patched:
        results = made_up_results.make(tmp_path_factory.mktemp("site"), patched, seeds=3).results
    found = verify.verify(results)
    verify.write(found)
    page.build(found)
    return results


@pytest.fixture
def results(built, tmp_path, monkeypatch):
    """A copy of it: what has not changed is not built again, and the summary is not drawn again."""

    def drawn(v):
        path = v.results / OVERVIEW
        return path if path.is_file() else None

    monkeypatch.setattr(page, "write_overview", drawn)
    return shutil.copytree(built, tmp_path / "results" / "demo")
