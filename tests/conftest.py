"""What holds for every test: it may take as long as a busy machine needs."""

import os
import sys
from functools import partial

import pytest
from hypothesis import HealthCheck, settings

# As in sacd.runs.notebook: jsonschema would build a parser of IRIs, in seconds that every worker of
# pytest would spend.
sys.modules.setdefault("rfc3987_syntax", None)

# No example is judged by its duration, nor the drawing of examples.
settings.register_profile("sacd", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("sacd")

# Dask gives up a connection after 30 s and a worker that restarts after 15 s. In variables, so that
# the processes that tests start have them too.
for name in ("COMM__TIMEOUTS__CONNECT", "COMM__TIMEOUTS__TCP", "DEPLOY__LOST_WORKER_TIMEOUT"):
    os.environ[f"DASK_DISTRIBUTED__{name}"] = "300s"


def pytest_collection_modifyitems(items):
    """Files with slow tests come first: no worker ends up with one while the others idle."""
    slow = {item.path for item in items if "slow" in item.keywords}
    items.sort(key=lambda item: item.path not in slow)


@pytest.fixture(scope="module")
def coarse_figures():
    """Figures are saved with 100 dpi: at 300 the choice of their 256 colours takes half the time.

    `figures/test_base.py` saves in full resolution.
    """
    from sacd.figures import base

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(base, "_png", partial(base._png, dpi=100))
        yield
