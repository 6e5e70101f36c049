"""The error that every reader of recordings raises, and one line of a foreign error."""

from sacd.files import FileError


class CohortError(FileError):
    """Data that cannot be used. One line: the file, what is wrong with it, and how to fix it."""


Problem = tuple[str, CohortError]
"""What `check` reports: the level, `error` or `warning`, and the problem."""


def first_line(error: Exception) -> str:
    """First line of an error's message; the name of its class if it has none."""
    return str(error).splitlines()[0] if str(error) else type(error).__name__
