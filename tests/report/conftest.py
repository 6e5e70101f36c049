"""A site that is built once in a file of tests, and copied by those that change it."""

import made_up_results
import pytest

from sacd.report import page, verify


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
