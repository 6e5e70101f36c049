"""A student, a teacher and a training set small enough to train in a second."""

import torch
from torch import Tensor, nn

from sacd.losses.base import Batch, Context
from sacd.models.output import Output

CLIPS, STAGES, SIZE = 40, 5, 32


class Student(nn.Module):
    """Three convolutions, each a stage, and a classifier on their pooled output."""

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            self.stages = nn.ModuleList(
                nn.Conv3d(i, o, 3, padding=1) for i, o in ((1, 4), (4, 8), (8, SIZE))
            )
            self.head = nn.Linear(SIZE, STAGES)

    def forward(self, clips: Tensor) -> Output:
        features = []
        for stage in self.stages:
            clips = nn.functional.leaky_relu(stage(clips), 0.1)
            features.append(clips)
        embedding = clips.mean((2, 3, 4))
        return Output(embedding, self.head(embedding), tuple(features))


class World:
    """40 clips, their stages, and what a frozen teacher that knows the stages says of each."""

    def __init__(self, seed: int = 0) -> None:
        g = torch.Generator().manual_seed(seed)
        self.labels = torch.arange(CLIPS) % STAGES
        self.clips = torch.randn(CLIPS, 1, 2, 4, 4, generator=g)
        centres = torch.randn(STAGES, SIZE, generator=g)
        self.embedding = centres[self.labels] + 0.5 * torch.randn(CLIPS, SIZE, generator=g)
        self.logits = 3 * nn.functional.one_hot(self.labels, STAGES) + 0.3 * torch.randn(
            CLIPS, STAGES, generator=g
        )
        self.maps = self.embedding[:, :, None] + 0.3 * torch.randn(CLIPS, SIZE, 6, generator=g)

    def teacher(self, rows: Tensor) -> Output:
        return Output(
            self.embedding[rows], self.logits[rows], (self.maps[rows], self.maps[rows][..., :3])
        )

    def context(self, student: nn.Module, seed: int = 0) -> Context:
        """What a method is built from; `seed` starts the method's randomness."""
        rows = torch.arange(2)
        with torch.no_grad():
            example = student(self.clips[rows])
        return Context(
            student,
            example,
            self.teacher(rows),
            self.labels,
            generator=torch.Generator().manual_seed(seed),
        )

    def batch(self, student: nn.Module, rows: Tensor, epoch: int = 0) -> Batch:
        clips = self.clips[rows]
        return Batch(student(clips), self.teacher(rows), self.labels[rows], rows, clips, epoch)


def step(
    student: nn.Module, method: nn.Module, optimizer: torch.optim.Optimizer, batch: Batch
) -> tuple[float, float]:
    """One step as the training loop does it; cross-entropy and sum of the method's terms."""
    terms = method.losses(batch)
    entropy = nn.functional.cross_entropy(batch.student.logits, batch.labels)
    own = sum(terms.values(), torch.zeros(()))
    optimizer.zero_grad()
    (entropy + own).backward()
    optimizer.step()
    with torch.no_grad():
        method.on_step_end(batch)
    return float(entropy.detach()), float(own.detach())


def adam(student: nn.Module, method: nn.Module) -> torch.optim.Optimizer:
    trained = [p for module in (student, method) for p in module.parameters() if p.requires_grad]
    return torch.optim.Adam(trained, 1e-2)
