"""Shared by the tests of notebooks."""

import pytest


@pytest.fixture
def no_kernel(monkeypatch):
    def refuse(*a, **k):
        raise AssertionError("a kernel was about to start")

    monkeypatch.setattr("papermill.execute_notebook", refuse)
