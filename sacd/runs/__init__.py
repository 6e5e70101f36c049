"""Run store and run engine: `Run` is one computation, `execute` computes, `RunStore` keeps."""

from sacd.runs.execute import Failure, Report, execute
from sacd.runs.fingerprint import NO_BYTES, code_fingerprint, reader_fingerprint
from sacd.runs.listing import cli, list_runs
from sacd.runs.store import CHECKPOINT, Run, RunError, RunStore, State, with_inputs

__all__ = [
    "CHECKPOINT",
    "NO_BYTES",
    "Failure",
    "Report",
    "Run",
    "RunError",
    "RunStore",
    "State",
    "cli",
    "code_fingerprint",
    "execute",
    "list_runs",
    "reader_fingerprint",
    "with_inputs",
]
