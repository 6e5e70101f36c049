"""The error that every reader of recordings raises."""

from sacd.files import FileError


class CohortError(FileError):
    """Data that cannot be used. One line: the file, what is wrong with it, and how to fix it."""


Problem = tuple[str, CohortError]
"""What `check` reports: the level, `error` or `warning`, and the problem."""
