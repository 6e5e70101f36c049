"""Late fusion of EEG and video (Table IV): two heads, encoders frozen or fine-tuned."""

from contextlib import nullcontext

import torch
from torch import Tensor, nn

from sacd.models.output import EMBEDDING, Output
from sacd.stages import STAGES


class HeadA(nn.Sequential):
    """Experiments A and C: one fully connected layer, 1024 -> 5 (section V-D)."""

    def __init__(self) -> None:
        super().__init__(nn.Linear(2 * EMBEDDING, len(STAGES)))


class HeadB(nn.Sequential):
    """Experiments B and D: three fully connected layers, 1024 -> 256 -> 64 -> 5 (section V-D).

    The paper names no activation between them. We use ReLU, because three linear layers without an
    activation are equivalent to one.
    """

    def __init__(self) -> None:
        super().__init__(
            nn.Linear(2 * EMBEDDING, 256),
            nn.ReLU(),
            nn.Linear(256, 64),
            nn.ReLU(),
            nn.Linear(64, len(STAGES)),
        )


class Fusion(nn.Module):
    """Sleep staging from EEG and video: a head on the joint [F_eeg, F_video] (section V-D).

    Experiments A and B have `finetune=False`: the encoders are frozen, stay in eval mode even after
    `train()`, and get no gradient. Their embeddings can therefore be computed once and passed to
    the head alone. Experiments C and D have `finetune=True`: everything is trained.

    Args:
        video: returns `Output` for a batch of clips, embedding `(B, 512)`; its `requires_grad` is
            set to `finetune`.
        eeg: the same for a batch of EEG epochs.
        head: `HeadA()` or `HeadB()`, or any module `(B, 1024)` -> `(B, 5)`.
        finetune: whether the encoders are trained.

    >>> from sacd.models.video import VideoResNet
    >>> video, eeg = (VideoResNet(width=0.125, in_channels=1) for _ in range(2))
    >>> fusion = Fusion(video, eeg, HeadA(), finetune=False)
    >>> [name for name, p in fusion.named_parameters() if p.requires_grad]
    ['head.0.weight', 'head.0.bias']
    """

    def __init__(self, video: nn.Module, eeg: nn.Module, head: nn.Module, finetune: bool) -> None:
        super().__init__()
        self.video, self.eeg, self.head, self.finetune = video, eeg, head, finetune
        self.video.requires_grad_(finetune)
        self.eeg.requires_grad_(finetune)
        self.train()  # a new module is in training mode, its frozen encoders must not be

    def train(self, mode: bool = True) -> "Fusion":
        super().train(mode)
        self.video.train(mode and self.finetune)
        self.eeg.train(mode and self.finetune)
        return self

    def forward(self, clips: Tensor, epochs: Tensor) -> Output:
        """Classify a batch.

        Args:
            clips: `(B, ...)` video clips.
            epochs: `(B, ...)` EEG epochs; row i covers the same 30 s as row i of `clips`.

        Returns:
            Joint embedding `(B, 1024)` and logits.
        """
        with nullcontext() if self.finetune else torch.no_grad():
            joint = torch.cat([self.eeg(epochs).embedding, self.video(clips).embedding], 1)
        return Output(joint, self.head(joint))
