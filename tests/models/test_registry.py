"""Students by name: contract of the output, refusals, lazy imports."""

import subprocess
import sys

import pytest
import torch

from sacd.config import BackboneConfig
from sacd.models.registry import STUDENTS, build_student
from sacd.training.pretext import make_student

NAMES = [*STUDENTS[:-1], "timm:test_resnet", "timm:skresnet18"]


@pytest.mark.parametrize("name", NAMES)
def test_every_student_keeps_the_contract(name):
    width = {"width": 0.125} if ":" not in name else {}
    student = build_student(name, in_channels=2, **width)
    output = student.eval()(torch.randn(2, 2, 2, 32, 32))
    assert output.embedding.shape == (2, 512) and output.logits.shape == (2, 5)
    assert len(output.features) >= 4
    assert all(f.dim() == 5 and f.shape[0] == 2 for f in output.features)
    output.logits.sum().backward()
    unused = [n for n, p in student.named_parameters() if p.grad is None]
    assert not unused
    assert torch.equal(student.fc(output.embedding), output.logits)


@pytest.mark.parametrize(
    "name", ["torchvision:r3d_18", "pytorchvideo:x3d_xs", "timm:test_resnet", "r3d_18"]
)
def test_every_student_can_be_configured(name):
    """Build a student as training does from the settings of a run."""
    student = make_student(BackboneConfig(name=name, width=0.125 if name == "r3d_18" else 1)).eval()
    assert student(torch.randn(1, 1, 2, 32, 32)).embedding.shape == (1, 512)


def test_a_frame_model_pools_over_time():
    student = build_student("timm:test_resnet", in_channels=1, n_classes=7).eval()
    clip = torch.randn(1, 1, 5, 32, 32)
    assert student(clip).logits.shape == (1, 7)
    torch.testing.assert_close(student(clip.flip(2)).logits, student(clip).logits)
    torch.testing.assert_close(
        student(clip).embedding,
        torch.stack([student(clip[:, :, i : i + 1]).embedding for i in range(5)]).mean(0),
    )


SMALL_SWIN = {"embed_dim": 16, "depths": (1, 1, 1, 1), "num_heads": (1, 1, 2, 2)}


@pytest.mark.parametrize(
    ("name", "side", "options"),
    [
        ("swin_tiny_patch4_window7_224", 64, SMALL_SWIN),  # maps are (B, H, W, C) inside
        ("swinv2_tiny_window8_256", 64, SMALL_SWIN),
        ("test_mambaout", 64, {}),  # likewise, and the head has a hidden layer
        ("test_convnext", 64, {}),
        ("test_maxvit", 64, {}),
        ("test_vit", 32, {}),  # tokens, the first is a class token
        ("deit_tiny_distilled_patch16_224", 32, {"embed_dim": 48, "depth": 2}),  # two extra tokens
        ("mixer_s32_224", 64, {}),  # tokens without a class token
    ],
)
def test_frame_models_of_every_layout_give_maps_of_channels_time_and_place(name, side, options):
    sized = {} if name in ("test_mambaout", "test_convnext") else {"img_size": (side, 2 * side)}
    student = build_student(f"timm:{name}", in_channels=1, **sized, **options).eval()
    clip = torch.randn(1, 1, 3, side, 2 * side)
    output = student(clip)
    assert output.embedding.shape == (1, 512) and len(output.features) >= 2
    assert [f.shape[2] for f in output.features] == [3] * len(output.features)
    assert all(f.shape[4] == 2 * f.shape[3] for f in output.features), (
        "height and width are the last two axes"
    )
    torch.testing.assert_close(student(clip.flip(2)).features[-1].flip(2), output.features[-1])
    output.logits.sum().backward()
    assert not [n for n, p in student.named_parameters() if p.grad is None]


def test_options_reach_the_builder():
    student = build_student("r3d_18", in_channels=1, width=0.125, stem_kernel=3)
    assert student.conv1.weight.shape[-1] == 3
    student = build_student("timm:test_vit", in_channels=1, img_size=(32, 48))
    assert student(torch.randn(1, 1, 2, 32, 48)).embedding.shape == (1, 512)


@pytest.mark.parametrize(
    ("name", "options", "says"),
    [
        (
            "resnet",
            {},
            "student 'resnet' is unknown; known: r2plus1d_18, r3d_18, torchvision:r2plus1d_18",
        ),
        ("torchvision:mc3_18", {}, "student 'torchvision:mc3_18' is unknown"),
        ("pytorchvideo:mvit", {}, "student 'pytorchvideo:mvit' is unknown"),
        ("timm", {}, "student 'timm:' is unknown"),
        ("timm:resnet81", {}, "student 'timm:resnet81' is unknown; near it: .*resnet18"),
        (
            "torchvision:r3d_18",
            {"width": 0.5},
            r"student 'torchvision:r3d_18' has no width \(got 0.5\)",
        ),
    ],
)
def test_refusals(name, options, says):
    with pytest.raises(ValueError, match=says):
        build_student(name, in_channels=1, **options)


@pytest.mark.slow
def test_import_loads_no_other_library():
    code = (
        "import sys, sacd.models.registry; "
        "print({'timm', 'torchvision', 'pytorchvideo'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
