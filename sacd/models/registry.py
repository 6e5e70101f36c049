"""Video students by name; libraries of other backbones are imported only when they are needed."""

import difflib
from collections.abc import Iterable
from typing import Any

from torch import Tensor, nn

from sacd.models.output import EMBEDDING, Output
from sacd.models.video import VideoResNet

RESNETS = {"r2plus1d_18": "r2plus1d", "r3d_18": "r3d"}
TORCHVISION = ("r2plus1d_18", "r3d_18")
PYTORCHVIDEO = ("x3d_xs", "x3d_s", "x3d_m", "x3d_l", "slow_r50")
STUDENTS = (
    *RESNETS,
    *(f"torchvision:{name}" for name in TORCHVISION),
    *(f"pytorchvideo:{name}" for name in PYTORCHVIDEO),
    "timm:<any 2-D model>",
)


def build_student(
    name: str, *, in_channels: int, n_classes: int = 5, width: float = 1.0, **options: Any
) -> nn.Module:
    """Video student by name, with random weights: clips `(B, C, T, H, W)` -> `Output`.

    `r2plus1d_18` and `r3d_18` are Hara's networks (`VideoResNet`), the students of the paper.
    torchvision's networks of the same names differ (no max pool, 45 middle channels in the stem). A
    timm model sees each frame alone; its pooled features are averaged over time. Networks whose
    features are not 512 long get a linear layer to the 512-d embedding. If a library fixes three
    colour channels, the first convolution is replaced by one for `in_channels`.

    Args:
        name: one of `STUDENTS`.
        in_channels: channels of a clip, >= 1.
        n_classes: number of stages.
        width: factor on the channels; for `r2plus1d_18` and `r3d_18` only.
        **options: arguments of `VideoResNet`, of the builder of torchvision or pytorchvideo, or of
            `timm.create_model`.

    Raises:
        ValueError: `name` is unknown, or has no `width`.
    """
    if name in RESNETS:
        return VideoResNet(RESNETS[name], width, in_channels, n_classes, **options)
    library, _, model = name.partition(":")
    build = {"torchvision": _torchvision, "pytorchvideo": _pytorchvideo, "timm": _timm}.get(library)
    if build is None or (library != "timm" and name not in STUDENTS):
        raise ValueError(f"student {name!r} is unknown; known: {', '.join(STUDENTS)}")
    if width != 1:
        raise ValueError(
            f"student {name!r} has no width (got {width}); only {', '.join(RESNETS)} have one"
        )
    return build(model, in_channels, n_classes, options)


class _Student(nn.Module):
    """Base class of the backbones: a linear layer to 512 where needed, and the classifier."""

    def __init__(self, length: int, n_classes: int) -> None:
        super().__init__()
        self.project = nn.Identity() if length == EMBEDDING else nn.Linear(length, EMBEDDING)
        self.fc = nn.Linear(EMBEDDING, n_classes)

    def output(self, pooled: Tensor, features: Iterable[Tensor]) -> Output:
        embedding = self.project(pooled)
        return Output(embedding, self.fc(embedding), tuple(features))


class Staged(_Student):
    """A 3-D backbone: stem, stages whose outputs are the features, and pooling to a vector."""

    def __init__(
        self,
        stem: nn.Module,
        stages: Iterable[nn.Module],
        pool: nn.Module,
        length: int,
        n_classes: int,
    ) -> None:
        super().__init__(length, n_classes)
        self.stem, self.stages, self.pool = stem, nn.ModuleList(stages), pool

    def forward(self, x: Tensor) -> Output:
        x, features = self.stem(x), []
        for stage in self.stages:
            x = stage(x)
            features.append(x)
        return self.output(self.pool(x).flatten(1), features)


class Framewise(_Student):
    """A 2-D backbone of timm, applied to every frame.

    Features are `(B, C, T, H, W)`; the pooled features are averaged over time.
    """

    def __init__(self, backbone: nn.Module, n_classes: int) -> None:
        super().__init__(getattr(backbone, "head_hidden_size", backbone.num_features), n_classes)
        self.backbone = backbone

    def forward(self, x: Tensor) -> Output:
        b, _, t = x.shape[:3]
        frames = x.transpose(1, 2).flatten(0, 1)
        if hasattr(self.backbone, "forward_intermediates"):
            last, features = self.backbone.forward_intermediates(frames)
        else:  # a few models return only their last features
            last = self.backbone.forward_features(frames)
            features = [last if last.dim() == 4 else last.mT]
        pooled = self.backbone.forward_head(last).unflatten(0, (b, t)).mean(1)
        return self.output(pooled, (f.unflatten(0, (b, t)).transpose(1, 2) for f in features))


def _torchvision(name: str, in_channels: int, n_classes: int, options: dict[str, Any]) -> nn.Module:
    from torchvision.models import video  # needed by this backbone only

    net = getattr(video, name)(weights=None, **options)
    old = net.stem[0]
    net.stem[0] = nn.Conv3d(
        in_channels, old.out_channels, old.kernel_size, old.stride, old.padding, bias=False
    )
    # As torchvision initialises the convolution that this one replaces.
    nn.init.kaiming_normal_(net.stem[0].weight, mode="fan_out", nonlinearity="relu")
    return Staged(
        net.stem,
        (net.layer1, net.layer2, net.layer3, net.layer4),
        net.avgpool,
        net.fc.in_features,
        n_classes,
    )


def _pytorchvideo(
    name: str, in_channels: int, n_classes: int, options: dict[str, Any]
) -> nn.Module:
    from pytorchvideo.models import hub  # needed by this backbone only

    *body, head = getattr(hub, name)(pretrained=False, input_channel=in_channels, **options).blocks
    # The heads pool over the window of their training clips. A global pool accepts any clip size.
    pool = nn.AdaptiveAvgPool3d(1)
    if name.startswith("x3d"):
        head.pool.pool = pool
        pool = head.pool
    return Staged(
        body[0], body[1:], nn.Sequential(pool, head.dropout), head.proj.in_features, n_classes
    )


def _timm(name: str, in_channels: int, n_classes: int, options: dict[str, Any]) -> nn.Module:
    import timm  # needed by this backbone only

    if not timm.is_model(name):
        near = (
            ", ".join(difflib.get_close_matches(name, timm.list_models(), 5))
            or "see timm.list_models()"
        )
        raise ValueError(f"student 'timm:{name}' is unknown; near it: {near}")
    backbone = timm.create_model(
        name, pretrained=False, in_chans=in_channels, num_classes=0, **options
    )
    return Framewise(backbone, n_classes)
