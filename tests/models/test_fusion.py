"""Fusion: sizes of the heads, what is frozen and what is fine-tuned."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from sacd.models.fusion import Fusion, HeadA, HeadB
from sacd.models.output import Output


class Encoder(nn.Module):
    """A stand-in encoder with dropout, running statistics and an unused classifier."""

    def __init__(self, n):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(n, 512), nn.BatchNorm1d(512), nn.Dropout(0.5))
        self.fc = nn.Linear(512, 5)

    def forward(self, x):
        embedding = self.net(x)
        return Output(embedding, self.fc(embedding))


def build(head, finetune):
    torch.manual_seed(0)
    return Fusion(Encoder(7), Encoder(3), head(), finetune).train()


CLIPS, EPOCHS = torch.randn(8, 7), torch.randn(8, 3)


def test_heads_have_the_printed_sizes():
    def sizes(head):
        return [(m.in_features, m.out_features) for m in head.modules() if isinstance(m, nn.Linear)]

    assert sizes(HeadA()) == [(1024, 5)]
    assert sizes(HeadB()) == [(1024, 256), (256, 64), (64, 5)]
    assert HeadB()(torch.randn(2, 1024)).shape == (2, 5)


@pytest.mark.parametrize("head", [HeadA, HeadB])
@pytest.mark.parametrize("finetune", [False, True])
def test_encoders_train_only_when_finetuned(head, finetune):
    fusion = build(head, finetune)
    before = copy.deepcopy(fusion.state_dict())
    optimizer = torch.optim.SGD([p for p in fusion.parameters() if p.requires_grad], lr=0.1)
    output = fusion(CLIPS, EPOCHS)
    assert output.embedding.shape == (8, 1024) and output.logits.shape == (8, 5)
    F.cross_entropy(output.logits, torch.arange(8) % 5).backward()
    optimizer.step()
    moved = {
        name.split(".")[0]
        for name, t in fusion.state_dict().items()
        if not torch.equal(t, before[name])
    }
    assert moved == ({"head", "video", "eeg"} if finetune else {"head"})
    assert fusion.head.training and fusion.video.training == fusion.eeg.training == finetune


def test_frozen_encoders_give_the_saved_embeddings():
    fusion = build(HeadB, finetune=False)
    saved = torch.cat([fusion.eeg(EPOCHS).embedding, fusion.video(CLIPS).embedding], 1)
    output = fusion(CLIPS, EPOCHS)
    assert torch.equal(output.embedding, saved) and torch.equal(output.logits, fusion.head(saved))
    assert not output.embedding.requires_grad


def test_finetuning_a_frozen_encoder_trains_it_again():
    video, eeg = Encoder(7), Encoder(3)
    Fusion(video, eeg, HeadA(), finetune=False)
    assert not any(p.requires_grad for p in (*video.parameters(), *eeg.parameters()))
    fusion = Fusion(video, eeg, HeadA(), finetune=True)
    fusion(CLIPS, EPOCHS).logits.sum().backward()
    assert video.net[0].weight.grad is not None and eeg.net[0].weight.grad is not None
