"""Export of a student with its preprocessing to ONNX; the context of the night is left out.

`sacd.data.motion` solves least squares and takes quantiles, for which ONNX has no operators;
`_Level` computes the same with operators that it has.
"""

import warnings
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from sacd.data.motion import GREY, _quadratic
from sacd.files import FileError, atomic
from sacd.models.video import VideoResNet
from sacd.predict.model import Stager, about_text
from sacd.training.views import View, input_of, seen

OPSET = 17
_CLIPS = 7
"""Clips of the example that is traced. No other dimension in the graph is a multiple of 7, so the
dimensions that depend on the number of clips can be told from the rest."""


class _Level(nn.Module):
    """`sacd.data.motion.motion_level` for frames of one size."""

    def __init__(self, frames: int, height: int, width: int) -> None:
        super().__init__()
        self.time, self.height, self.width = frames, height // 2, width // 2
        self.half = max(1, frames // 10)
        self.register_buffer("light", _quadratic(self.height, self.width))
        self.register_buffer("ridge", 1e-6 * torch.eye(6))

    def forward(self, frames: Tensor) -> Tensor:
        pooled = nn.functional.avg_pool2d(frames, 2)
        x = torch.log(pooled + GREY).flatten(2)
        x = x - x.mean(dim=1, keepdim=True)
        # The factor is 1; it makes the size of `basis` follow the number of clips in the graph.
        residual, basis = x, self.light * (0 * x[:, :1] + 1)
        for _ in range(2):  # least squares with weights, twice
            gram = basis @ self.light.T + self.ridge
            coefficients = _solve(gram, basis @ x.transpose(1, 2))
            residual = x - coefficients.transpose(1, 2) @ self.light
            spread = residual.abs().mean(dim=1, keepdim=True)
            # torch's median: of an even number, the lower of the two in the middle.
            middle = _sorted(spread)[..., (self.height * self.width - 1) // 2][..., None]
            basis = self.light * (1 / (1 + (spread / (middle + 1e-6)) ** 2))
        padded = nn.functional.pad(
            residual.transpose(1, 2), (self.half, self.half), mode="replicate"
        )
        mean = nn.functional.avg_pool1d(padded, 2 * self.half + 1, 1).transpose(1, 2)
        residual = residual - mean
        # torch's quantile 0.9: linear between the two nearest ranks.
        ordered = _sorted(residual.abs().mean(dim=1))
        place = 0.9 * (self.height * self.width - 1)
        low, share = int(place), place - int(place)
        moving = ordered[:, low] + share * (ordered[:, low + 1] - ordered[:, low])
        scaled = residual / (3 * (moving[:, None, None] + 1e-6))
        size = scaled.abs()  # torch's exporter has no asinh
        level = scaled.sign() * torch.log(size + torch.sqrt(size * size + 1))
        return level.unflatten(2, (self.height, self.width))


def _sorted(x: Tensor) -> Tensor:
    return torch.topk(x, x.shape[-1], dim=-1, largest=False, sorted=True).values


def _solve(matrix: Tensor, right: Tensor) -> Tensor:
    """x of `matrix @ x = right`, by Gauss-Jordan; `(B, n, n)` positive definite, no pivoting."""
    n = int(matrix.shape[-1])
    both = torch.cat([matrix, right], dim=2)
    for k in range(n):
        row = both[:, k : k + 1] / both[:, k : k + 1, k : k + 1]
        factor = both[:, :, k : k + 1] * (torch.arange(n) != k).float()[None, :, None]
        kept = torch.cat([both[:, :k], row, both[:, k + 1 :]], dim=1)
        both = kept - factor * row
    return both[:, :, n:]


class _Whole(nn.Module):
    """Frames of all clips of one night to the probabilities of their stages."""

    def __init__(self, stager: Stager) -> None:
        super().__init__()
        about, store = stager.about, stager.about.store
        self.backbone, self.motion = about.backbone, about.backbone.input == "motion"
        self.level = _Level(store.frames, store.height, store.width) if self.motion else None
        self.student, self.frozen = stager.student, about.backbone.frozen
        self.register_buffer("biases", torch.tensor(about.biases))
        self.register_buffer("mean", stager.mean if self.frozen else torch.zeros(1))

    def forward(self, frames: Tensor) -> Tensor:
        if self.motion:
            x = seen(self._two_channels(frames.float()), View(), self.backbone)
        else:
            x = input_of(frames, View(), self.backbone)
        if isinstance(self.student, VideoResNet):
            logits = self._logits(x)
        else:
            logits = self.student(x).logits
        return torch.softmax(logits + self.biases, dim=1)

    def _logits(self, x: Tensor) -> Tensor:
        """`VideoResNet.forward` without its choice of a memory layout, which ONNX does not have.

        Features of the frozen stages are centred over the clips, as in `Stager`.
        """
        for part in range(5):
            if self.frozen and part == self.frozen:
                x = x.half().float()
                shift = self.mean - x.mean(dim=(2, 3, 4)).mean(dim=0)
                x = x + shift[:, None, None, None]
            x = self.student._part(part, x)
        return self.student.fc(self.student.project(x.mean(dim=(2, 3, 4))))

    def _two_channels(self, frames: Tensor) -> Tensor:
        """`sacd.data.motion.with_change`, with the rounding of the cache."""
        level = self.level(frames).half().float()
        change = torch.cat([0 * level[:, :1], level[:, 1:] - level[:, :-1]], dim=1)
        return torch.stack([level, change], dim=1)


def _transposed(graph, x):
    """`Tensor.mT` of three dimensions, which the exporter does not know."""
    return graph.op("Transpose", x, perm_i=[0, 2, 1])


def write_onnx(stager: Stager, path: Path) -> None:
    """Write the model as ONNX: `frames` uint8 `(n, T, H, W)` -> `probabilities` `(n, 5)`.

    The n clips are those of one night, because features are centred by night. Preprocessing,
    centring and the calibration's biases are part of the graph; so the largest probability is the
    stage. The head that reads the whole night is not: it needs facts of the pixels, which
    `sacd.data.pixels` finds by eigenvectors. The file is run by onnxruntime before it is kept.

    Raises:
        FileError: onnxruntime gives other probabilities than torch.
    """
    import onnx  # both are slow to import
    import onnxruntime

    store = stager.about.store
    shape = (store.frames, store.height, store.width)
    example = np.random.default_rng(0).integers(0, 255, (_CLIPS, *shape)).astype(np.uint8)
    with atomic(path) as half:
        with warnings.catch_warnings():
            # The tracer warns that shapes become constants, which is intended, and that it is
            # the old exporter; the new one needs a further package.
            warnings.simplefilter("ignore")
            torch.onnx.register_custom_op_symbolic("aten::mT", _transposed, OPSET)
            torch.onnx.export(
                _Whole(stager).eval(),
                (torch.from_numpy(example),),
                str(half),
                input_names=["frames"],
                output_names=["probabilities"],
                dynamic_axes={"frames": {0: "clips"}, "probabilities": {0: "clips"}},
                opset_version=OPSET,
                dynamo=False,
            )
        model = onnx.load(half)
        _for_any_number_of_clips(model, example)
        onnx.checker.check_model(model)
        about = stager.about.model_copy(update={"context": None})
        for key, value in (("about", about.model_dump_json()), ("model", about_text(about))):
            model.metadata_props.add(key=key, value=value)
        onnx.save(model, half)
        session = onnxruntime.InferenceSession(str(half), _quiet())
        # Another number of clips than in the example, as a night will have.
        other = np.concatenate([example, example[:4, ::-1]])
        found = session.run(None, {"frames": other})[0]
        expected = stager.probabilities(stager.features(other))
        if not np.allclose(found, expected, atol=0.01):
            gap = float(np.abs(found - expected).max())
            problem = f"would give probabilities that differ by {gap:.3f} from torch's"
            raise FileError(path, problem, "use `sacd predict` instead, and report this")


def _quiet():
    """Options with which onnxruntime reports errors alone, and not what its optimiser removes."""
    import onnxruntime  # slow to import

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    return options


def _for_any_number_of_clips(model, example: NDArray[np.uint8]) -> None:
    """Let the first size of every reshape follow from the others.

    The tracer writes the example's number of clips into them. In this graph the clips are always
    in the first dimension.
    """
    import onnx  # both are slow to import
    import onnxruntime

    reshapes = [node for node in model.graph.node if node.op_type == "Reshape"]
    open_model = onnx.ModelProto()
    open_model.CopyFrom(model)
    for node in reshapes:
        open_model.graph.output.append(onnx.ValueInfoProto(name=node.output[0]))
    session = onnxruntime.InferenceSession(open_model.SerializeToString(), _quiet())
    names = [node.output[0] for node in reshapes]
    for k, value in enumerate(session.run(names, {"frames": example})):
        if value.ndim > 1 and value.shape[0] % _CLIPS == 0:
            size = np.array([-1, *value.shape[1:]], np.int64)
            name = f"size_of_reshape_{k}"
            model.graph.initializer.append(onnx.numpy_helper.from_array(size, name))
            reshapes[k].input[1] = name
    # The sizes that were replaced are left without a use, and onnxruntime warns of them.
    used = {name for node in model.graph.node for name in node.input}
    for tensor in [x for x in model.graph.initializer if x.name not in used]:
        model.graph.initializer.remove(tensor)
