"""A healthy night for the tests of recordings."""

import shutil

import pytest
from recording_changes import write_night


@pytest.fixture(scope="module")
def night(tmp_path_factory):
    return write_night(tmp_path_factory.mktemp("night") / "cohort")


@pytest.fixture
def cohort(night, tmp_path):
    return shutil.copytree(night, tmp_path / "cohort")
