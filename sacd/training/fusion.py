"""Table IV: EEG and video together (A to D), and distillation from video to EEG (E to G).

Both tasks start from two finished runs, the video student trained alone and the EEG teacher (V-D),
and use the loss weights of the latter. Early stages of the video network that a profile caches stay
as they are, fine-tuned or not.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from sacd.config import FusionConfig, ReverseConfig, SplitConfig, StudentConfig, TeacherConfig
from sacd.files import save_tensors, write_parquet
from sacd.losses.base import Context, build
from sacd.models.eeg import class_weights
from sacd.models.fusion import Fusion, HeadA, HeadB
from sacd.models.output import Output
from sacd.models.video import Tail
from sacd.training.common import (
    Inputs,
    Resources,
    config_of,
    open_clips,
    outputs_of,
    predictions,
    rows_of,
    scores_of,
)
from sacd.training.distil import DistillationObjective, take
from sacd.training.fit import Objective, Progress, count_steps, fit
from sacd.training.pretext import make_student, reader
from sacd.training.teacher import any_gain, eeg_of, load_outputs, make_teacher

HEADS = {"A": HeadA, "B": HeadB}

Read = Callable[[np.ndarray, torch.Generator | None], tuple[Tensor, Tensor]]
"""Input of the video and of the EEG network for rows of the store; augmented if there is a generator."""


class _Trained:
    """Both trained networks, what they read, and how whatever is made of them is trained."""

    def __init__(self, split: SplitConfig, inputs: Inputs, resources: Resources) -> None:
        store, self.clips = open_clips(resources, split)
        device = resources["device"]
        self.rows = rows_of(self.clips, "train")
        self.labels = torch.from_numpy(
            self.clips["stage"].to_numpy(np.int64, copy=True)[self.rows]
        ).to(device)
        student_config, teacher_config = (
            config_of(inputs["student"], StudentConfig),
            config_of(inputs["teacher"], TeacherConfig),
        )
        self.weights = (
            class_weights(self.labels.cpu()).to(device) if teacher_config.class_weights else None
        )
        video, eeg = (
            make_student(student_config.backbone),
            make_teacher(teacher_config, self.clips, store.config.eeg_rate),
        )
        video.load_state_dict(load_file(inputs["student"] / "weights.safetensors"))
        eeg.load_state_dict(load_file(inputs["teacher"] / "weights.safetensors"))
        eeg.set_stage(eeg.stages[-1])
        self.video = (
            Tail(video, student_config.backbone.frozen) if student_config.backbone.frozen else video
        ).to(device)
        self.eeg = eeg.to(device)
        self._frames, self._signals = (
            reader(student_config.backbone, inputs, resources),
            eeg_of(teacher_config, store, self.clips),
        )

    def frames(self, rows: np.ndarray, generator: torch.Generator | None = None) -> Tensor:
        """The video network's input; with a generator in one of four flips."""
        return self._frames(
            rows, 0 if generator is None else int(torch.randint(4, (), generator=generator))
        )

    def signals(self, rows: np.ndarray, generator: torch.Generator | None = None) -> Tensor:
        """The EEG network's input; with a generator at a random gain."""
        return (
            self._signals[rows] if generator is None else any_gain(self._signals[rows], generator)
        )

    def both(
        self, rows: np.ndarray, generator: torch.Generator | None = None
    ) -> tuple[Tensor, Tensor]:
        return self.frames(rows, generator), self.signals(rows, generator)

    def train(
        self,
        trained: nn.Module,
        goal: Objective,
        staged: nn.Module,
        read: Callable[[np.ndarray], Tensor] | Read,
        config: FusionConfig | ReverseConfig,
        lr_multipliers: dict[str, float],
        folder: Path,
        progress: Progress,
    ) -> None:
        """Fit `trained`, select `staged(read(rows))` on validation subjects, write what it predicts for every clip."""
        validation = rows_of(self.clips, "validation")
        history = fit(
            trained,
            goal,
            self.clips["block"].to_numpy()[self.rows],
            config.fit,
            seed=config.seed,
            lr_multipliers=lr_multipliers,
            checkpoint=folder / "checkpoint.safetensors",
            validate=lambda: scores_of(
                self.clips, validation, outputs_of(staged, read, validation).logits
            ),
            progress=progress,
        )
        history.to_csv(folder / "metrics.csv", index=False)
        save_tensors(folder / "weights.safetensors", staged.state_dict())
        logits = outputs_of(staged, read, np.arange(len(self.clips))).logits
        write_parquet(folder / "predictions.parquet", predictions(self.clips, logits))


class _Known(nn.Module):
    """Stands for a frozen encoder: its input is the embedding, computed once."""

    def forward(self, embedding: Tensor) -> Output:
        return Output(embedding, embedding.new_empty(len(embedding), 0))


class _FusionObjective:
    def __init__(self, model: Fusion, read: Read, t: _Trained) -> None:
        self.model, self.read, self.t = model, read, t

    def losses(self, rows: Tensor, epoch: int, generator: torch.Generator) -> dict[str, Tensor]:
        labels = self.t.labels[rows]
        given = self.read(self.t.rows[rows.numpy()], generator)
        logits = self.model(*(x.to(labels.device) for x in given)).logits
        return {"ce": nn.functional.cross_entropy(logits, labels, self.t.weights)}

    def on_step_end(self) -> dict[str, float]:
        return {}


def fusion(
    config: FusionConfig, inputs: Inputs, folder: Path, resources: Resources, progress: Progress
) -> None:
    """Experiments A to D: a head on the embeddings of both networks, which stay frozen (A, B) or go on training (C, D).

    C and D are A and B with their encoders fine-tuned (Table IV): head and encoders go on from
    where these ended, since a head at random would first undo what the encoders know. They read the
    run `head`, of A or B.

    Frozen encoders are not run again: their embeddings were saved by the runs `student` and
    `teacher`, as the paper's. Released ones get the augmentation of their own training. Writes
    `weights.safetensors`, `metrics.csv` and `predictions.parquet`.
    """
    t = _Trained(config.split, inputs, resources)
    torch.manual_seed(config.seed)
    head = HEADS[config.head]()
    if config.finetune:
        state = load_file(inputs["head"] / "weights.safetensors")
        head.load_state_dict({name.removeprefix("head."): value for name, value in state.items()})
    if config.finetune:
        model, read = Fusion(t.video, t.eeg, head, finetune=True), t.both
    else:
        video = load_file(inputs["student"] / "embeddings.safetensors")["embedding"].float()
        eeg = load_outputs(inputs["teacher"]).embedding
        model, read = (
            Fusion(_Known(), _Known(), head, finetune=False),
            lambda rows, _=None: (video[rows], eeg[rows]),
        )
    lr_multipliers = (
        dict.fromkeys(("video", "eeg"), config.encoder_lr_multiplier) if config.finetune else {}
    )
    model.to(resources["device"])
    t.train(
        model,
        _FusionObjective(model, read, t),
        model,
        read,
        config,
        lr_multipliers,
        folder,
        progress,
    )


class _FineTuned(DistillationObjective):
    """The video network learns as well: from its own cross-entropy (eq. 1 has both) and from the method's terms."""

    def __init__(self, t: _Trained, *settings) -> None:
        super().__init__(*settings)
        self.t = t

    def taught(self, rows: Tensor, generator: torch.Generator) -> Output:
        return self.t.video(
            self.t.frames(self.t.rows[rows.numpy()], generator).to(self.labels.device)
        )

    def losses(self, rows: Tensor, epoch: int, generator: torch.Generator) -> dict[str, Tensor]:
        losses = super().losses(rows, epoch, generator)
        logits = self.batch.teacher.logits
        return losses | {
            "ce_video": nn.functional.cross_entropy(logits, self.batch.labels, self.weights)
        }


def reverse(
    config: ReverseConfig, inputs: Inputs, folder: Path, resources: Resources, progress: Progress
) -> None:
    """Experiments E to G: the video network teaches the EEG network, which stages alone in the end.

    What is frozen in E is the video network, the source, as the teacher is in stage two (A1);
    "fine-tuned" (F, G) trains it too. The other reading, a frozen EEG encoder, is none: L_D and L_C
    reach nothing but that encoder, so E would be cross-entropy and JSD on one linear layer. The EEG
    network goes on from the baseline's weights, as the encoders of C and D do; method `ce` trains
    it on alone and says what the further epochs do by themselves.

    Writes `weights.safetensors` (EEG network), `metrics.csv` and `predictions.parquet`.
    """
    t = _Trained(config.split, inputs, resources)
    torch.manual_seed(config.seed)
    device = torch.device(resources["device"])
    teacher = Output(*(x.to(device) for x in outputs_of(t.video, t.frames, t.rows)[:2]))
    with torch.inference_mode():
        example = t.eeg.eval()(t.signals(t.rows[:2]).to(device))
    context = Context(
        student=t.eeg,
        student_example=example,
        teacher_example=take(teacher, torch.arange(2)),
        labels=t.labels,
        steps=count_steps(t.clips["block"].to_numpy()[t.rows], config.fit, config.seed),
        generator=torch.Generator().manual_seed(config.seed),
    )
    options = config.method.options | ({"train_teacher": True} if config.finetune else {})
    method = build(config.method.name, context, **options).to(device)
    varied = lambda rows, generator: t.signals(t.rows[rows], generator)  # noqa: E731
    settings = (t.eeg, method, varied, t.labels, teacher, t.weights)
    goal = _FineTuned(t, *settings) if config.finetune else DistillationObjective(*settings)
    encoders = {"eeg": t.eeg} | ({"video": t.video} if config.finetune else {})
    lr_multipliers = dict.fromkeys(encoders, config.encoder_lr_multiplier)
    lr_multipliers |= {f"method.{part}": factor for part, factor in method.lr_multipliers.items()}
    t.train(
        nn.ModuleDict({**encoders, "method": method}),
        goal,
        t.eeg,
        t.signals,
        config,
        lr_multipliers,
        folder,
        progress,
    )
