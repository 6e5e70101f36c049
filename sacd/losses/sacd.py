"""SACD, the paper's method: cross-entropy + L_D (graphs) + L_C (contrast) + JSD (eq. 5).

The three terms have files of their own (`structure`, `contrastive`, `divergence`). This one weights
them and keeps what L_C needs from past steps: the memory banks and the momentum encoder.
"""

from collections.abc import Mapping
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from sacd.losses.base import Batch, Context, Method
from sacd.losses.contrastive import Directions, Selection, k_hard_contrastive
from sacd.losses.divergence import divergence
from sacd.losses.sp import similarity_preserving
from sacd.losses.structure import StructureLoss
from sacd.models.bank import MemoryBank
from sacd.models.numerics import to_float32, unit
from sacd.models.output import Output

StructureKind = Literal["ours", "literal", "matched_only", "sp"]
Divergence = Literal["jsd", "half_jeffreys"]


class SACD(Method):
    r"""Structure-aware contrastive distillation.

    .. math:: L = L_{CE} + \lambda_1 L_D + \lambda_2 L_C + \lambda_3 JSD \qquad (5)

    Embeddings of student and teacher are `(B, 512)`, logits `(B, 5)`. `01_method` computes every
    term step by step. Video keys come from a momentum encoder, an EMA copy of the student in eval
    mode (reading A19). Its decay grows with the step t as 1 - t^(-2/3) up to 0.999: with 0.999 from
    the start, 74 % of the initial weights would remain after 300 steps. Batch-norm statistics are
    copied. The frozen teacher needs no momentum encoder. Keys are enqueued after the optimizer's
    step, so L_C is 0 in the first step. A term of weight 0 is not computed and keeps no state.

    Source: arXiv:2208.05814, IV. Deviation: see `StructureLoss` (mismatched graphs, d at unit
    length) and `k_hard_contrastive` (mean over pairs). Deviation: the graph networks learn at 0.3
    of the student's rate (`structure_lr_multiplier`); the paper has one rate for everything, with
    which they did worse on the simulated cohort.

    Args:
        weight_structure, weight_contrastive, weight_jsd: lambda 1 to 3 (VI-B: 0.5, 1, 1), >= 0.
        bank, k, margin: L_C: size m of each bank, negatives K per anchor, alpha.
        layers, gamma: L_D: propagation layers of the graph networks, margin.
        structure: `ours`, `literal` or `matched_only`, see `StructureLoss`. `sp` replaces L_D with
            B times similarity-preserving distillation: the mean squared distance of rows of unit
            length, which has the scale of d.
        graph_size: maximum number of clips per graph; larger batches are split into several graphs.
        structure_lr_multiplier: factor > 0 on the learning rate of the graph networks.
        directions, selection: of `k_hard_contrastive`; v4 of Table V has one direction.
        divergence: `jsd` or `half_jeffreys` (reading A21).
        decay: final decay of the EMA, 0..1. With 0 the keys come from the student of the last step.
        train_teacher: the losses also train the teacher, as eqs. 2-5 are written (reading A1). The
            teacher has no momentum encoder, so its bank keys may be stale.

    Raises:
        ValueError: an option is out of range or unknown, or the embeddings' widths differ.
    """

    teacher_needed = True

    def __init__(
        self,
        context: Context,
        weight_structure: float = 0.5,
        weight_contrastive: float = 1.0,
        weight_jsd: float = 1.0,
        bank: int = 256,
        k: int = 64,
        margin: float = 0.2,
        layers: int = 3,
        gamma: float = 1.0,
        structure: StructureKind = "ours",
        graph_size: int = 16,
        structure_lr_multiplier: float = 0.3,
        directions: Directions = "both",
        selection: Selection = "top_k",
        divergence: Divergence = "jsd",
        decay: float = 0.999,
        train_teacher: bool = False,
    ) -> None:
        super().__init__()
        _check_known("structure", structure, StructureKind)
        _check_known("directions", directions, Directions)
        _check_known("selection", selection, Selection)
        _check_known("divergence", divergence, Divergence)
        _check_least(
            0,
            weight_structure=weight_structure,
            weight_contrastive=weight_contrastive,
            weight_jsd=weight_jsd,
            margin=margin,
            gamma=gamma,
            layers=layers,
        )
        _check_least(1, bank=bank, k=k, graph_size=graph_size)
        if not 0 <= decay <= 1:
            raise ValueError(f"decay {decay} is not in 0..1")
        if not structure_lr_multiplier > 0:
            raise ValueError(f"structure_lr_multiplier {structure_lr_multiplier} is not > 0")
        self.weight_structure = weight_structure
        self.weight_contrastive = weight_contrastive
        self.weight_jsd = weight_jsd
        self.divergence_kind, self.train_teacher = divergence, train_teacher
        self.contrast = {"margin": margin, "k": k, "selection": selection, "directions": directions}
        # In a tuple, so that the student is not registered as a part of the method: its weights
        # would be saved twice and count as the method's own.
        self._student = (context.student,)
        video_dim = context.student_example.embedding.shape[1]
        eeg_dim = context.teacher_example.embedding.shape[1]

        # One seed for both uses of chance: initial weights of L_D, draws of `semi_hard_random`.
        seed = int(torch.randint(2**31, (), generator=context.generator))
        self.structure: StructureLoss | None = None
        if weight_structure and structure != "sp":
            # Layers are initialised by the global generator, so we lend it a seed.
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(seed)
                self.structure = StructureLoss(
                    video_dim, eeg_dim, layers, gamma, structure, size=graph_size
                )
            self.lr_multipliers["structure"] = structure_lr_multiplier

        self.ema: nn.Module | None = None
        if weight_contrastive:
            if video_dim != eeg_dim:
                raise ValueError(
                    f"embedding widths {video_dim} (student) and {eeg_dim} (teacher) differ; "
                    "L_C needs equal ones"
                )
            self.step, self.seed = 0, seed
            self.bank_s = MemoryBank(bank, eeg_dim)
            # Video anchors are compared with EEG keys only, which need no momentum encoder.
            if directions != "video":
                self.bank_v = MemoryBank(bank, eeg_dim)
                self.ema = _momentum_encoder(context.student, decay)

    def get_extra_state(self) -> dict[str, int]:
        """Number of steps so far and seed of the draws, for `state_dict`."""
        return {"step": self.step, "seed": self.seed} if self.weight_contrastive else {}

    def set_extra_state(self, state: dict[str, int]) -> None:
        self.step, self.seed = state.get("step", 0), state.get("seed", 0)

    def train(self, mode: bool = True) -> "SACD":
        """Switch between training and eval mode; the momentum encoder always stays in eval mode."""
        super().train(mode)
        if self.ema is not None:
            self.ema.eval()
        return self

    def losses(self, batch: Batch) -> Mapping[str, Tensor]:
        """`structure`, `contrastive` and `jsd`, weighted; those of weight 0 are absent."""
        teacher = batch.teacher
        if not self.train_teacher:
            teacher = Output(teacher.embedding.detach(), teacher.logits.detach())
        video, eeg = batch.student.embedding, teacher.embedding
        losses: dict[str, Tensor] = {}
        self.monitor = {}
        if self.weight_structure:
            losses["structure"] = self.weight_structure * self._structure_loss(video, eeg)
        if self.weight_contrastive:
            loss = self._contrastive_loss(video, eeg, batch.labels)
            losses["contrastive"] = self.weight_contrastive * loss
        if self.weight_jsd:
            loss = divergence(batch.student.logits, teacher.logits, self.divergence_kind)
            losses["jsd"] = self.weight_jsd * loss
            self.monitor["jsd"] = loss.detach()
        return losses

    def _structure_loss(self, video: Tensor, eeg: Tensor) -> Tensor:
        if self.structure is None:
            # SP divides by B^2. Times B it is a mean over clips, like d.
            loss = len(video) * similarity_preserving(video, eeg)
            self.monitor["structure"] = loss.detach()
        else:
            loss, figures = self.structure(video, eeg)
            self.monitor |= {"structure": loss.detach(), **figures}
        return loss

    def _contrastive_loss(self, video: Tensor, eeg: Tensor, labels: Tensor) -> Tensor:
        keys_s, bank_labels = self.bank_s.get()
        keys_v = keys_s[:0] if self.ema is None else self.bank_v.get()[0]
        contrast = k_hard_contrastive(
            video,
            eeg,
            keys_s,
            keys_v,
            labels,
            bank_labels,
            # One seed per step: a resumed run draws the same without saving a generator's state.
            generator=torch.Generator().manual_seed(self.seed + self.step),
            unit_queues=True,
            **self.contrast,
        )
        self.monitor |= {
            "contrastive": contrast.loss.detach(),
            "negatives": contrast.negatives.float().mean(),
            "active": contrast.active,
            "positive": contrast.positive,
        }
        return contrast.loss

    @torch.no_grad()
    def on_step_end(self, batch: Batch) -> None:
        """Update the momentum encoder; enqueue its keys, the teacher's keys and the graphs."""
        video, eeg = batch.student.embedding.detach(), batch.teacher.embedding.detach()
        if self.weight_contrastive:
            self.step += 1
            # Entries are compared by their cosine, so they enter at unit length.
            self.bank_s.enqueue(unit(to_float32(eeg)), batch.labels)
            if self.ema is not None:
                self.ema.update(self._student[0], step=self.step)
                keys = self.ema.module(batch.clips).embedding
                self.bank_v.enqueue(unit(to_float32(keys)), batch.labels)
        if self.structure is not None:
            self.structure.push(video, eeg)


def _momentum_encoder(student: nn.Module, decay: float) -> nn.Module:
    """A copy of the student whose weights follow as a moving average (reading A19)."""
    # timm takes seconds to import, and listing runs does not need it.
    from timm.utils import ModelEmaV3

    # `use_warmup` is the growth of the decay in the docstring of `SACD`. `exclude_buffers` copies
    # the batch-norm statistics; as averages they would lag behind the weights they belong to.
    encoder = ModelEmaV3(student, decay=decay, use_warmup=True, exclude_buffers=True)
    return encoder.requires_grad_(False)


def _check_known(name: str, value: str, kind: Any) -> None:
    if value not in get_args(kind):
        raise ValueError(f"{name} {value!r} is unknown; known: {', '.join(get_args(kind))}")


def _check_least(least: int, **options: float) -> None:
    for name, value in options.items():
        if not value >= least:  # also refuses NaN
            raise ValueError(f"{name} {value} is not >= {least}")
