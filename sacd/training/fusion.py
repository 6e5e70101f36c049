"""Table IV: EEG and video together (A to D), and distillation from video to EEG (E to G).

Both tasks start from two finished runs, the video student trained alone and the EEG teacher (V-D),
and use the class weights of the teacher's training. The frozen stem of the video network stays
frozen even where the encoders are fine-tuned.
"""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from sacd.config import FusionConfig, ReverseConfig, SplitConfig, StudentConfig, TeacherConfig
from sacd.files import save_tensors, write_parquet
from sacd.models.eeg import class_weights
from sacd.models.fusion import Fusion, HeadA, HeadB
from sacd.models.output import Output
from sacd.training.common import (
    Inputs,
    Resources,
    config_of,
    labels_of,
    mean_of_windows,
    open_clips,
    outputs_of,
    predictions,
    rows_of,
    scores_of,
)
from sacd.training.distil import DistillationObjective, build_method, method_lr_multipliers
from sacd.training.fit import Objective, Progress, fit
from sacd.training.pretext import make_student, reader, without_stem
from sacd.training.teacher import eeg_of, load_outputs, make_teacher, random_gain
from sacd.training.views import View, evaluation_views, random_view, windows_of

HEADS = {"A": HeadA, "B": HeadB}

Read = Callable[[np.ndarray, torch.Generator], tuple[Tensor, Tensor]]
"""Returns the inputs of both networks for rows of the store, with a random augmentation."""


class _Trained:
    """The trained video and EEG networks, their inputs, and the training of a model of both."""

    def __init__(self, split: SplitConfig, inputs: Inputs, resources: Resources) -> None:
        store, self.clips = open_clips(resources, split)
        device = resources["device"]
        student_config = config_of(inputs["student"], StudentConfig)
        teacher_config = config_of(inputs["teacher"], TeacherConfig)
        rate = store.config.eeg_rate

        self.rows = rows_of(self.clips, "train")
        self.blocks = self.clips["block"].to_numpy()[self.rows]
        self.labels = labels_of(self.clips)[self.rows].to(device)
        self.weights: Tensor | None = None
        if teacher_config.class_weights:
            self.weights = class_weights(self.labels.cpu()).to(device)

        video = make_student(student_config.backbone)
        eeg = make_teacher(teacher_config, self.clips, rate)
        video.load_state_dict(load_file(inputs["student"] / "weights.safetensors"))
        eeg.load_state_dict(load_file(inputs["teacher"] / "weights.safetensors"))
        # A network is built in its first training stage, and its weights are those of its last.
        eeg.set_stage(eeg.stages[-1])
        self.video = without_stem(video, student_config.backbone).to(device)
        self.eeg = eeg.to(device)
        self._backbone = student_config.backbone
        self._windows = windows_of(self._backbone, store.config)
        self._read_frames = reader(self._backbone, inputs, resources)
        self._signals = eeg_of(teacher_config, store, self.clips, rate)

    def frames(self, rows: np.ndarray, how: View | torch.Generator) -> Tensor:
        """The video network's input in a view, or in one that a generator draws."""
        if isinstance(how, torch.Generator):
            how = random_view(self._backbone, len(rows), how, self._windows)
        return self._read_frames(rows, how)

    def signals(self, rows: np.ndarray, generator: torch.Generator | None = None) -> Tensor:
        """The EEG network's input; with a generator, at a random gain."""
        signals = self._signals[rows]
        return signals if generator is None else random_gain(signals, generator)

    def both(self, rows: np.ndarray, how: View | torch.Generator) -> tuple[Tensor, Tensor]:
        # The order of the draws: first the view of the video, then the gain of the EEG.
        generator = how if isinstance(how, torch.Generator) else None
        return self.frames(rows, how), self.signals(rows, generator)

    def in_views(self, read: Callable[[np.ndarray, View], Any]) -> list[Callable]:
        """`read` for each view of an evaluation."""
        return [partial(read, how=view) for view in evaluation_views(self._windows)]

    def train(
        self,
        trained: nn.Module,
        objective: Objective,
        stager: nn.Module,
        reads: Sequence[Callable[[np.ndarray], Tensor | tuple[Tensor, ...]]],
        config: FusionConfig | ReverseConfig,
        lr_multipliers: dict[str, float],
        folder: Path,
        progress: Progress,
    ) -> None:
        """Fit `trained`, and write weights and predictions of its part `stager`.

        The validation kappa of the mean of `stager(read(rows))` over `reads` selects the epoch. The
        predictions are those of the validation and test clips; predictions of training clips are
        not needed.
        """

        def logits_of(rows: np.ndarray) -> Tensor:
            return mean_of_windows([outputs_of(stager, read, rows) for read in reads]).logits

        validation = rows_of(self.clips, "validation")
        history = fit(
            trained,
            objective,
            self.blocks,
            config.fit,
            seed=config.seed,
            lr_multipliers=lr_multipliers,
            checkpoint=folder / "checkpoint.pt",
            validate=lambda: scores_of(self.clips, validation, logits_of(validation)),
            progress=progress,
        )
        history.to_csv(folder / "metrics.csv", index=False)
        save_tensors(folder / "weights.safetensors", stager.state_dict())
        # `fit` has put back the weights of the best epoch.
        held_out = np.concatenate([validation, rows_of(self.clips, "test")])
        table = predictions(self.clips.iloc[held_out], logits_of(held_out))
        write_parquet(folder / "predictions.parquet", table)


class _Precomputed(nn.Module):
    """Stands in for a frozen encoder: its input is the embedding, computed once."""

    def forward(self, embedding: Tensor) -> Output:
        return Output(embedding, embedding.new_empty(len(embedding), 0))


class _FusionObjective(Objective):
    """Cross-entropy of the fused logits."""

    def __init__(self, model: Fusion, read: Read, networks: _Trained) -> None:
        self.model, self.read, self.networks = model, read, networks

    def losses(self, rows: Tensor, epoch: int, generator: torch.Generator) -> dict[str, Tensor]:
        labels = self.networks.labels[rows]
        # `rows` counts the training clips; the networks read rows of the whole store.
        given = self.read(self.networks.rows[rows.numpy()], generator)
        logits = self.model(*(x.to(labels.device) for x in given)).logits
        return {"ce": nn.functional.cross_entropy(logits, labels, self.networks.weights)}


def fusion(
    config: FusionConfig, inputs: Inputs, folder: Path, resources: Resources, progress: Progress
) -> None:
    """Experiments A to D: a head on the embeddings of both networks, frozen or fine-tuned.

    C and D fine-tune the encoders of A and B (Table IV). They start from the head of the run
    `head`, which is A or B: the gradients of a random head would first damage the encoders.

    A and B read the embeddings that the runs `student` and `teacher` saved, instead of running the
    frozen encoders. Fine-tuned encoders get the augmentation of their own training. Writes
    `weights.safetensors`, `metrics.csv` and `predictions.parquet`.
    """
    networks = _Trained(config.split, inputs, resources)
    torch.manual_seed(config.seed)
    head = HEADS[config.head]()
    if config.finetune:
        # A and B save no encoder: all of their weights are the head's.
        state = load_file(inputs["head"] / "weights.safetensors")
        head.load_state_dict({name.removeprefix("head."): value for name, value in state.items()})
        model, read = Fusion(networks.video, networks.eeg, head, finetune=True), networks.both
        reads = networks.in_views(networks.both)
        # The encoders start from trained weights, which large steps would destroy.
        lr_multipliers = dict.fromkeys(("video", "eeg"), config.encoder_lr_multiplier)
    else:
        # Saved as float16, for all clips of the store in its order.
        video = load_file(inputs["student"] / "embeddings.safetensors")["embedding"].float()
        eeg = load_outputs(inputs["teacher"]).embedding
        model = Fusion(_Precomputed(), _Precomputed(), head, finetune=False)

        def read(rows: np.ndarray, how: View | torch.Generator | None = None) -> tuple:
            return video[rows], eeg[rows]

        reads = [read]
        lr_multipliers = {}
    model.to(resources["device"])
    objective = _FusionObjective(model, read, networks)
    networks.train(model, objective, model, reads, config, lr_multipliers, folder, progress)


class _FineTunedObjective(DistillationObjective):
    """The video network learns too, from its own cross-entropy (eq. 1 has both) and the method."""

    def __init__(self, networks: _Trained, *settings) -> None:
        super().__init__(*settings)
        self.networks = networks

    def taught(self, rows: Tensor, generator: torch.Generator) -> Output:
        frames = self.networks.frames(self.networks.rows[rows.numpy()], generator)
        return self.networks.video(frames.to(self.labels.device))

    def losses(self, rows: Tensor, epoch: int, generator: torch.Generator) -> dict[str, Tensor]:
        losses = super().losses(rows, epoch, generator)
        logits = self.batch.teacher.logits
        ce_video = nn.functional.cross_entropy(logits, self.batch.labels, self.weights)
        return losses | {"ce_video": ce_video}


def reverse(
    config: ReverseConfig, inputs: Inputs, folder: Path, resources: Resources, progress: Progress
) -> None:
    """Experiments E to G: the video network teaches the EEG network, which is then tested alone.

    E freezes the video network, which is the source here as the teacher is in stage two (reading
    A1); F and G fine-tune it too. Freezing the EEG encoder instead would make no sense: L_D and L_C
    reach only that encoder, so that E would train a single linear layer with cross-entropy and JSD.

    The EEG network starts from the teacher's weights, as the encoders of C and D do. Method `ce`
    continues its training without a source, which shows the effect of the additional epochs alone.

    Writes `weights.safetensors` (EEG network), `metrics.csv` and `predictions.parquet`.
    """
    networks = _Trained(config.split, inputs, resources)
    torch.manual_seed(config.seed)
    device = torch.device(resources["device"])
    source = mean_of_windows(
        [
            outputs_of(networks.video, read, networks.rows)
            for read in networks.in_views(networks.frames)
        ]
    )
    # Of a fine-tuned source the method reads only the shapes here: `taught` computes it anew.
    source = Output(source.embedding.to(device), source.logits.to(device))
    method = build_method(
        config.method.name,
        config.method.options | ({"train_teacher": True} if config.finetune else {}),
        networks.eeg,
        networks.signals(networks.rows[:2]),
        source,
        networks.labels,
        config.seed,
    )

    def augmented(rows: np.ndarray, generator: torch.Generator) -> Tensor:
        return networks.signals(networks.rows[rows], generator)

    settings = (
        networks.eeg,
        method,
        augmented,
        networks.labels,
        source,
        networks.weights,
        config.method.weight,
    )
    # Only what is trained goes into the checkpoint; a frozen video network is loaded again.
    encoders = {"eeg": networks.eeg}
    if config.finetune:
        encoders["video"] = networks.video
        objective: Objective = _FineTunedObjective(networks, *settings)
    else:
        objective = DistillationObjective(*settings)
    lr_multipliers = dict.fromkeys(encoders, config.encoder_lr_multiplier)
    lr_multipliers |= method_lr_multipliers(method)
    networks.train(
        nn.ModuleDict({**encoders, "method": method}),
        objective,
        networks.eeg,
        [networks.signals],
        config,
        lr_multipliers,
        folder,
        progress,
    )
