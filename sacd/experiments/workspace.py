"""A profile on a cohort: where its files lie, and its runs."""

import os
from collections.abc import Mapping
from copy import copy
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from safetensors.numpy import load_file

from sacd.analysis.auc import calibrated
from sacd.data.cohort import read_cohort
from sacd.data.ingest import ingest
from sacd.data.settings import with_settings
from sacd.data.sleepedf import SleepEdf, ingest_sleepedf
from sacd.data.store import ClipStore
from sacd.escape import one_line
from sacd.experiments.places import claim, place_of
from sacd.experiments.profiles import PROFILES, Profile
from sacd.experiments.recipes import Recipes
from sacd.experiments.ucf51 import Ucf51Workspace
from sacd.files import read_json, remove_partial_folder
from sacd.runs import NO_BYTES, Report, Run, RunStore, code_fingerprint, execute, reader_fingerprint
from sacd.simulate.cohort import made_files, simulate

CHECKOUT = Path(__file__).resolve().parents[2]


class Workspace(Recipes):
    """One profile on one cohort: where its files lie, and its runs.

    Args:
        profile: "smoke", "demo" or "paper", or a profile of your own.
        data: folder of a cohort that exists; without it the profile's simulated cohort is used.
        nights: folder of the UCDDB tables; real stages and respiratory events then drive the
            simulated cohort.
        root: folder that holds `data/`, `runs/` and `results/`; default: the checkout that this
            package lies in.
        seeds: seeds per row, instead of the profile's.
        ucf101: folder of UCF101's videos, for Table III; without it they are simulated too.
        sleepedf: folder of Sleep-EDF's cassette recordings, for the EEG stagers; without it they
            use the cohort's EEG.
        settings: of `data`, in place of the profile's and the cohort's own; see
            `sacd.data.settings`. None: those with which it was ingested, if it was.
    """

    def __init__(
        self,
        profile: str | Profile = "demo",
        data: str | Path | None = None,
        nights: str | Path | None = None,
        root: str | Path | None = None,
        seeds: int | None = None,
        ucf101: str | Path | None = None,
        sleepedf: str | Path | None = None,
        settings: Mapping[str, Any] | None = None,
    ) -> None:
        if isinstance(profile, str) and profile not in PROFILES:
            raise ValueError(f"profile {profile!r} is unknown; known: {', '.join(PROFILES)}")
        self.profile = PROFILES[profile] if isinstance(profile, str) else profile
        self.asked_seeds = seeds or 0
        """Seeds per row that the user asked for; 0: the profile's own."""
        self.seeds = seeds or self.profile.seeds
        """Seeds of the rows that are compared most: the students alone, CCL and SACD."""
        self.other_seeds = seeds or self.profile.other_seeds
        """Seeds of every other row."""
        self.root = Path(root) if root else CHECKOUT
        self.nights = Path(nights) if nights else None
        self.sleepedf = Path(sleepedf) if sleepedf else None
        source = f"sleepedf-{place_of(sleepedf)}" if sleepedf else "sleepedf"
        self.sleepedf_path = self.root / "data" / source
        slug = self.profile.name + (f"-{place_of(data)}" if data else "-nights" if nights else "")
        self.cohort = Path(data) if data else self.root / "data" / slug / "cohort"
        self.simulated = not data
        self.store_path = self.root / "data" / slug / "store"
        if data:
            made = self.store_path if settings is None else None
            store = with_settings(self.profile.store, self.cohort, settings or {}, made)
            self.profile = self.profile.model_copy(update={"store": store})
        elif settings:
            raise ValueError(f"{', '.join(settings)}: set for a cohort that exists; say DATA= too")
        seeded = f"{slug}-{seeds}-seeds" if seeds else slug  # other rows, other results
        # Runs of all profiles and cohorts share one store: their ids tell them apart.
        self.results = self.root.resolve() / "results" / seeded
        self.runs = RunStore(self.root / "runs")
        videos = self.root / "data" / self.profile.name
        self.ucf51 = Ucf51Workspace(self.profile, videos, Path(ucf101) if ucf101 else None)
        """Videos and runs of Table III."""
        self.clips = ""
        """Frame sampling, if it is not the profile's own; part of every label."""
        self.original = self
        """The workspace with the profile's own frames; its teachers serve this one too."""

    def changed(self, **attributes: Any) -> "Workspace":
        """A copy with other attributes; what is cached here belongs to the data of this one."""
        other = copy(self)
        for name in vars(self):
            if isinstance(getattr(type(self), name, None), cached_property):
                del vars(other)[name]
        vars(other).update(attributes)
        return other

    def with_clips(self, frames: int, sampling: str) -> "Workspace":
        """The same cohort with other frames of every clip; `prepare()` makes its clip store.

        Its students are runs of their own. EEG, and so the teachers, are the same.
        """
        store = self.profile.store.model_copy(update={"frames": frames, "sampling": sampling})
        if store == self.profile.store:
            return self
        if (frames, sampling) not in self._others:
            self._others[frames, sampling] = self.changed(
                profile=self.profile.model_copy(update={"store": store}),
                clips=f"{frames} {sampling} frames",
                store_path=self.store_path.with_name(f"store-{frames}-{sampling}"),
            )
        return self._others[frames, sampling]

    @cached_property
    def _others(self) -> dict[tuple[int, str], "Workspace"]:
        """Made by `with_clips`; a store is read once."""
        return {}

    def prepare(self, workers: int | None = None) -> None:
        """Simulate the cohort if none was given, and ingest it, where that is missing.

        Raises:
            ValueError: the place of this cohort holds what was made from another path.
        """
        workers = workers or os.cpu_count() or 1
        if self.simulated:
            self.simulate(workers)
        else:
            for folder in (self.store_path.parent, self.results):
                claim(folder, self.cohort)
        code = reader_fingerprint(f"{ingest.__module__}:ingest")
        ingest(self.cohort, self.store_path, self.profile.store, workers=workers, code=code)
        if self.sleepedf:
            code = reader_fingerprint(f"{ingest_sleepedf.__module__}:ingest_sleepedf")
            ingest_sleepedf(self.sleepedf, self.sleepedf_path, code)

    def simulate(self, workers: int = 1) -> Path:
        """Write the profile's simulated cohort, where it is not there yet; returns its folder."""
        remove_partial_folder(self.cohort)
        # A cohort of another simulator is made again, so the code stands in its record.
        code = code_fingerprint([f"{simulate.__module__}:simulate"], without=NO_BYTES)
        settings = self.profile.simulate
        return simulate(self.cohort, settings, nights=self.nights, workers=workers, code=code)

    @property
    def prepared(self) -> bool:
        """Whether `prepare()` made the store."""
        return (self.store_path / "manifest.json").is_file()

    @cached_property
    def store(self) -> ClipStore:
        """The clip store; `prepare()` makes it."""
        return ClipStore(self.store_path)

    @cached_property
    def data_name(self) -> str:
        """What every output says of its data, e.g. "simulated cohort, demo profile"."""
        return f"{one_line(read_cohort(self.cohort).name)}, {self.profile.name} profile"

    def execute(self, runs: list[Run], **options: Any) -> Report:
        """Compute what is missing of `runs`; see `sacd.runs.execute`."""
        places = {"store": self.store_path, "cohort": self.cohort, "sleepedf": self.sleepedf_path}
        resources = {name: str(path.resolve()) for name, path in places.items()}
        resources |= self.ucf51.resources
        return execute(runs, self.runs, resources=resources, **options)

    @cached_property
    def eeg_store(self) -> ClipStore | SleepEdf:
        """Training data of the EEG stagers: Sleep-EDF if its folder is given, else the cohort."""
        return SleepEdf(self.sleepedf_path) if self.sleepedf else self.store

    # --- results ---

    def read(self, run: Run, name: str) -> pd.DataFrame:
        """A table of a finished run: `predictions.parquet`, `metrics.csv` or `held_out.csv`."""
        path = self.runs.folder(run) / name
        return pd.read_parquet(path) if path.suffix == ".parquet" else pd.read_csv(path)

    def predictions(self, run: Run, part: str = "test") -> pd.DataFrame:
        """Predicted clips of one part of the split, one row a clip.

        The column `calibrated` has the stage predicted after one bias per class, which is fitted on
        the validation subjects; see `sacd.analysis.auc`. Where a run has no such subjects, it is
        left out.
        """
        table = self.read(run, "predictions.parquet")
        found = table[table["part"] == part].reset_index(drop=True)
        known = table[table["part"] == "validation"]
        return found if known.empty or "p_W" not in found else calibrated(known, found)

    def embeddings(self, run: Run) -> NDArray[np.float32]:
        """Embeddings `(n, 512)` of all clips of the store, in its order."""
        tensors = load_file(self.runs.folder(run) / "embeddings.safetensors")
        return tensors["embedding"].astype(np.float32)

    @cached_property
    def frames_may_be_shown(self) -> bool:
        """Whether the store holds simulated sleepers only; frames of real ones are not shown.

        Every file that a night of the store was made from has to be one that the simulator wrote:
        its SHA-256 stands in the simulator's record. What the description says does not count.
        """
        made = made_files(self.cohort)
        if not made or not self.prepared:
            return False
        for subject in self.store.clips["subject"].unique():
            sources = read_json(self.store_path / subject / "night.json").get("sources")
            if not sources or any(made.get(k) != source["sha256"] for k, source in sources.items()):
                return False
        return True

    def provenance(self, rows: Mapping[str, list[Run]]) -> pd.DataFrame:
        """Which run made each row: seed, id, and the hashes of its settings, code and data.

        Commit, date and duration stand in `results/<profile>/record.csv`: they differ when a run is
        computed again.
        """
        lines = [
            {"row": row, "seed": getattr(run.config, "seed", None), "run": run.id}
            | {"settings": run.settings, "code": run.identity["code"], "data": run.data[:12]}
            for row, runs in rows.items()
            for run in runs
        ]
        return pd.DataFrame(lines)
