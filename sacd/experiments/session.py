"""A notebook in use: its workspace, runs and predictions, and where its files go."""

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import pandas as pd
from IPython.display import Image, Markdown
from matplotlib.figure import Figure

from sacd.analysis import tables
from sacd.escape import as_markdown
from sacd.experiments.items import NOTEBOOKS
from sacd.experiments.rows import flat
from sacd.experiments.workspace import Workspace
from sacd.figures import base
from sacd.runs.notebook_inputs import parameters_of

_WHERE: Final = ("profile", "data", "nights", "root", "seeds", "ucf101", "sleepedf")
"""Parameters that name data and results; `Workspace` gives each combination folders of its own."""
_HOW: Final = ("results", "menus")
"""Parameters that `make reproduce` sets; they change no number."""


def in_short(data: str, text: str) -> Markdown:
    """The answer that a notebook opens with: the name of its data, then one or two sentences."""
    return Markdown(f"> **In short** ({as_markdown(data)}): {text}")


class Session:
    """One notebook in use: building it prepares the data and trains what is missing.

    Files go to `results/<profile>/`. Where a parameter other than those of place differs from what
    the notebook declares, they go to `results/scratch/<profile>/` instead: the committed results
    stay what they are.

    Args:
        notebook: its name, such as "31_fig6_confusion".
        parameters: `globals()` of the notebook; its parameters are taken from there.

    """

    def __init__(self, notebook: str, parameters: Mapping[str, Any]) -> None:
        pd.set_option("display.max_colwidth", None)  # a sentence in a table is shown whole
        self.notebook = NOTEBOOKS[notebook]
        declared = {
            name: default for name, (_, default) in parameters_of(self.notebook.source).items()
        }
        given = {name: parameters[name] for name in declared}
        where = {name: given[name] or None for name in _WHERE if name in given}
        self.space = Workspace(**where)
        self.changed = [
            name
            for name in declared
            if name not in (*_WHERE, *_HOW) and given[name] != declared[name]
        ]
        self.results = self.space.results
        if self.changed:
            self.results = self.space.results.parent / "scratch" / self.space.results.name
            print(f"changed: {', '.join(self.changed)}; files go to {self.results}")
        sources = self.notebook.data(self.space)
        for source in sources:
            source.prepare()
        self.data_name = sources[0].data_name if sources else ""
        self.rows = self.notebook.rows(self.space, **given)
        runs = list(dict.fromkeys(flat(self.rows)))
        if missing := [run for run in runs if not self.space.runs.folder(run).is_dir()]:
            store = self.space.runs.root
            print(f"{len(missing)} of {len(runs)} runs are not in {store}: trained here, now")
        self.report = self.space.execute(runs)  # verifies the checksums of what is there
        if self.report.failed:
            raise RuntimeError(f"the rows of {notebook} are incomplete: {self.report}")

    def __str__(self) -> str:
        """What the rows were tested on."""
        return f"{self.data_name}: tested on {self.n_subjects} subjects, {self.n_clips:,} clips"

    @cached_property
    def tests(self) -> dict[str, list[pd.DataFrame]]:
        """Row -> predictions of the test clips, one table per seed."""
        return {
            row: [self.space.predictions(run) for run in runs] for row, runs in self.rows.items()
        }

    @cached_property
    def n_subjects(self) -> int:
        """Test subjects of the first row."""
        return self._first["subject"].nunique()

    @cached_property
    def n_clips(self) -> int:
        """Test clips of the first row."""
        return len(self._first)

    @property
    def _first(self) -> pd.DataFrame:
        return next(iter(self.tests.values()))[0]

    def answer(self, text: str) -> Markdown:
        """The answer of the notebook: one or two sentences, after the name of the data."""
        return in_short(self.data_name, text)

    @property
    def folder(self) -> Path:
        """Where the figures go."""
        return self.results / "figures"

    def show(
        self,
        figure: Figure,
        name: str,
        n_subjects: int | None = None,
        n_clips: int | None = None,
        label: str | None = None,
    ) -> Image:
        """Write the data's name on a figure, save it in every format, and return the picture.

        Args:
            n_subjects, n_clips: what it shows; default: the test set of the notebook's rows.
            label: in place of the name of the data and these two numbers.
        """
        if label is None:
            subjects = self.n_subjects if n_subjects is None else n_subjects
            clips = self.n_clips if n_clips is None else n_clips
            figure = base.label_data(figure, self.data_name, subjects, clips)
        else:
            figure = base.label_data(figure, label)
        return Image(base.save(figure, self.folder, name)[0])

    def write(self, table: pd.DataFrame, name: str, **options: Any) -> None:
        """Write `tables/<name>` in every format; `options` are those of `tables.write`."""
        tables.write(table, self.results / "tables", name, **options)
