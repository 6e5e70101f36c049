"""Table III's side of a profile: its videos, real or simulated, and its runs."""

import os
from functools import cached_property
from pathlib import Path
from typing import Any

from sacd.config import MethodConfig, Ucf51StudentConfig, Ucf51TeacherConfig
from sacd.data.ucf51 import Ucf51Store
from sacd.data.ucf51_ingest import ingest
from sacd.escape import one_line
from sacd.experiments.places import place_of
from sacd.experiments.profiles import Profile
from sacd.files import remove_partial_folder, sha256
from sacd.losses import METHODS
from sacd.runs import Run, reader_fingerprint
from sacd.simulate.ucf51 import simulate_ucf51


class Ucf51Workspace:
    """Videos and runs of Table III.

    Args:
        profile: its settings are `profile.ucf51`.
        data: folder for the simulated set and the store.
        ucf101: folder of UCF101's videos; without it a set is simulated. A published
            `Cnn14_emb512*.pth` in it becomes the teacher.
    """

    def __init__(self, profile: Profile, data: Path, ucf101: Path | None) -> None:
        self.profile, self.simulated = profile, ucf101 is None
        self.videos = ucf101 or data / "ucf101"
        self.store_path = data / ("ucf51" if self.simulated else f"ucf51-{place_of(self.videos)}")

    def prepare(self, workers: int | None = None) -> None:
        """Simulate the videos if no folder was given, and ingest them, where that is missing."""
        workers = workers or os.cpu_count() or 1
        if self.weights:
            from sacd.models.pretrained import check_cnn14  # torch, which listing runs never needs

            check_cnn14(self.weights)
        remove_partial_folder(self.store_path)
        if self.simulated:
            remove_partial_folder(self.videos)
            simulate_ucf51(self.videos, self.profile.ucf51.simulate, workers)
        code = reader_fingerprint(f"{ingest.__module__}:ingest")
        ingest(self.videos, self.store_path, self.profile.ucf51.store, workers, code)

    @property
    def prepared(self) -> bool:
        """Whether `prepare()` made the store."""
        return (self.store_path / "manifest.json").is_file()

    @cached_property
    def store(self) -> Ucf51Store:
        """The store; `prepare()` makes it."""
        return Ucf51Store(self.store_path)

    @property
    def data_name(self) -> str:
        """What every output says of its data."""
        return f"{one_line(self.store.name)}, {self.profile.name} profile"

    @cached_property
    def weights(self) -> Path | None:
        """The published teacher, if it lies in the folder of the videos."""
        found = [] if self.simulated else sorted(self.videos.glob("Cnn14_emb512*.pth"))
        return found[0] if found else None

    @property
    def resources(self) -> dict[str, str]:
        """Of the tasks in `sacd.training.ucf51`."""
        published = {"cnn14": str(self.weights)} if self.weights else {}
        return {"ucf51": str(self.store_path.resolve())} | published

    def _run(self, task: str, config: Any, **more: Any) -> Run:
        task, where = f"sacd.training.ucf51:{task}", tuple(self.resources.items())
        return Run(task, config, self.store.fingerprint, resources=where, **more)

    def teacher(self) -> Run:
        """The audio teacher, frozen."""
        p = self.profile.ucf51
        # The published network has its full width; its bytes are part of the run's identity.
        network: dict[str, Any] = {"width": p.teacher_width}
        if self.weights:
            network = {"width": 1.0, "weights": sha256(self.weights)}
        config = Ucf51TeacherConfig(fit=p.teacher, **network)
        return self._run("teacher", config, label="UCF51 CNN14", cost=55)

    def student(self, method: str = "ce", seed: int = 0) -> Run:
        """A video student trained by a method."""
        p = self.profile.ucf51
        config = Ucf51StudentConfig(
            backbone=p.backbone,
            method=MethodConfig(name=method, options=p.methods.get(method, {})),
            fit=p.student,
            smallest_crop=p.smallest_crop,
            seed=seed,
        )
        return self._run(
            "student",
            config,
            inputs=() if method == "ce" else (("teacher", self.teacher()),),
            modules=(METHODS[method],),
            label=f"UCF51 {method} seed {seed}",
            cost=20,
        )
