"""An .npy file that grows row by row: the number of rows is known only at the end."""

from pathlib import Path

import numpy as np


class Rows:
    """Rows of an array, written as they come; the header has a fixed length and is rewritten last.

    The number of clips is known only after the video was decoded, and a night does not fit into
    memory.
    """

    def __init__(self, path: Path, shape: tuple[int, ...], dtype: type):
        self.file, self.shape, self.dtype, self.n = path.open("wb"), shape, np.dtype(dtype), 0

    def __enter__(self) -> "Rows":
        self._header()
        return self

    def append(self, row: np.ndarray) -> None:
        self.file.write(np.ascontiguousarray(row, self.dtype).reshape(self.shape).data)
        self.n += 1

    def _header(self) -> None:
        # NumPy pads the header so that the first axis can grow: its length is the same both times.
        header = {"descr": self.dtype.str, "fortran_order": False, "shape": (self.n, *self.shape)}
        np.lib.format.write_array_header_1_0(self.file, header)

    def __exit__(self, *_: object) -> None:
        with self.file:
            self.file.seek(0)
            self._header()
