"""Benchmarks of single losses, forward and backward, beside a straight transcription of each.

The other side is what a reader would write down from the equations, without any care for speed.
"""

import math
import statistics
from collections.abc import Callable
from pathlib import Path

from benchmarks.measure import Row, interleaved, over, ratio

WIDTH = 512
"""Width of an embedding."""

BATCHES = (16, 64, 256)
BANKS = (256, 4096, 16384)


def contrasting(pairs: int = 9) -> list[Row]:
    """L_C (eqs. 12-13) with the K hardest negatives, against ten lines of transcription."""
    import torch
    from torch.nn.functional import normalize

    from sacd.losses.contrastive import k_hard_contrastive
    from sacd.models.numerics import unit

    def transcribed(v, s, queue_s, queue_v, labels, queue_labels, margin=0.2, k=64):
        v, s = normalize(v), normalize(s)
        same = labels[:, None] == queue_labels
        total = 0
        for anchor, queue in ((v, queue_s), (s, queue_v)):
            similar = anchor @ normalize(queue).T
            hardest = similar.masked_fill(same, -math.inf).topk(k, dim=1).values
            hinge = (margin - (v * s).sum(dim=1, keepdim=True) + hardest).relu()
            total = total + hinge.mean()
        return total

    rows = []
    for entries in BANKS:
        for batch in BATCHES:
            g = torch.Generator().manual_seed(entries + batch)
            v = torch.randn(batch, WIDTH, generator=g, requires_grad=True)
            s = torch.randn(batch, WIDTH, generator=g)
            queues = [torch.randn(entries, WIDTH, generator=g) for _ in range(2)]
            stored = [unit(queue) for queue in queues]  # a bank stores them like this
            labels = torch.arange(batch) % 5, torch.arange(entries) % 5

            def ours(v=v, s=s, stored=stored, labels=labels):
                k_hard_contrastive(v, s, *stored, *labels, unit_queues=True).loss.backward()

            def theirs(v=v, s=s, queues=queues, labels=labels):
                transcribed(v, s, *queues, *labels).backward()

            name = f"L_C over its transcription, batch {batch}, bank {entries}"
            rows.append(_row(name, ours, theirs, pairs))
    return rows


def relating(pairs: int = 9) -> list[Row]:
    """PKT, SP and RKD within a batch, against the formulas of RepDistiller."""
    import torch
    from torch.nn.functional import normalize, smooth_l1_loss

    from sacd.losses.pkt import pkt
    from sacd.losses.rkd import rkd
    from sacd.losses.sp import similarity_preserving

    def pkt_transcribed(a, b):
        sides = []
        for x in (a, b):
            x = x / (x.square().sum(dim=1, keepdim=True).sqrt() + 1e-7)
            cosine = (x @ x.T + 1) / 2
            sides.append(cosine / cosine.sum(dim=1, keepdim=True))
        p, q = sides
        return (q * ((q + 1e-7) / (p + 1e-7)).log()).mean()

    def sp_transcribed(a, b):
        sides = [normalize(x.flatten(1) @ x.flatten(1).T) for x in (a, b)]
        return (sides[0] - sides[1]).square().sum() / len(a) ** 2

    def rkd_transcribed(a, b):
        distances, angles = [], []
        for x in (a, b):
            difference = x[None] - x[:, None]
            d = difference.square().sum(dim=2).clamp_min(1e-12).sqrt()
            distances.append(d / d[d > 1e-5].mean())
            e = normalize(difference, dim=2)
            angles.append(e @ e.transpose(1, 2))
        return smooth_l1_loss(*distances) + 2 * smooth_l1_loss(*angles)

    sides = {
        "PKT": (pkt, pkt_transcribed),
        "SP": (similarity_preserving, sp_transcribed),
        "RKD": (lambda a, b: torch.stack(rkd(a, b)).dot(torch.tensor([1.0, 2.0])), rkd_transcribed),
    }
    rows = []
    for name, (ours, theirs) in sides.items():
        for batch in BATCHES[:2]:
            g = torch.Generator().manual_seed(batch)
            a = torch.randn(batch, WIDTH, generator=g, requires_grad=True)
            b = torch.randn(batch, WIDTH, generator=g)
            row = f"{name} over its transcription, batch {batch}"
            calls = [lambda loss=loss, a=a, b=b: loss(a, b).backward() for loss in (ours, theirs)]
            rows.append(_row(row, *calls, pairs))
    return rows


def _row(name: str, ours: Callable[[], None], theirs: Callable[[], None], pairs: int) -> Row:
    """Ratio of core-seconds; five calls a turn, because one is shorter than the clock's tick."""

    def often(call: Callable[[], None]) -> Callable[[], None]:
        return lambda: [call() for _ in range(5)] and None

    seconds = interleaved([often(ours), often(theirs)], pairs)
    return ratio(name, over(*seconds), "<= 1", "forward and backward")


def losses(folder: Path, pairs: int = 9) -> list[Row]:
    """Single losses, and the geometric mean of their ratios."""
    rows = [*contrasting(pairs), *relating(pairs)]
    mean = statistics.geometric_mean([row.value for row in rows])
    return [*rows, Row("geometric mean of these", mean, "ratio")]
