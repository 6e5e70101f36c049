"""Published checkpoints: load synthetic files with their keys and shapes, refuse any other file."""

import shutil
from collections import Counter

import pytest
import torch
from safetensors.torch import load_file

from sacd.experiments.workspace import Workspace
from sacd.models.audio import CNN14
from sacd.models.pretrained import load_cnn14, load_pretrained
from sacd.models.video import VideoResNet
from sacd.runs import execute
from sacd.training.pretext import make_student

BN = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")


def hara_shapes(kind, n_classes):
    """Keys and shapes of Hara's published files, written down without our network."""

    def bn(name, c):
        return {f"{name}.{part}": () if part == "num_batches_tracked" else (c,) for part in BN}

    def unit(prefix, n, c_in, c_out, mid, kernel=3):
        if kind == "r3d":
            return {
                f"{prefix}conv{n}.weight": (c_out, c_in, *(kernel,) * 3),
                **bn(f"{prefix}bn{n}", c_out),
            }
        return {
            f"{prefix}conv{n}_s.weight": (mid, c_in, 1, kernel, kernel),
            **bn(f"{prefix}bn{n}_s", mid),
            f"{prefix}conv{n}_t.weight": (c_out, mid, kernel, 1, 1),
            **bn(f"{prefix}bn{n}_t", c_out),
        }

    shapes, c_in = unit("", 1, 3, 64, 110, 7), 64
    for layer, (c, first, other) in enumerate(
        ((64, 144, 144), (128, 230, 288), (256, 460, 576), (512, 921, 1152)), 1
    ):
        for block in range(2):
            shapes |= unit(f"layer{layer}.{block}.", 1, c_in, c, first if block == 0 else other)
            shapes |= unit(f"layer{layer}.{block}.", 2, c, c, other)
            if c_in != c:
                down = f"layer{layer}.{block}.downsample"
                shapes |= {f"{down}.0.weight": (c, c_in, 1, 1, 1), **bn(f"{down}.1", c)}
            c_in = c
    return {**shapes, "fc.weight": (n_classes, 512), "fc.bias": (n_classes,)}


def checkpoint(shapes, prefix=""):
    generator = torch.Generator().manual_seed(0)
    state = {}
    for name, shape in shapes.items():
        t = torch.rand(shape, generator=generator) * 0.02 + 0.01
        state[prefix + name] = torch.tensor(7) if name.endswith("num_batches_tracked") else t
    scheduler = {"milestones": Counter([50, 100, 150]), "gamma": 0.1}
    return {
        "epoch": 200,
        "arch": "resnet-18",
        "state_dict": state,
        "optimizer": {"state": {}},
        "scheduler": scheduler,
    }


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "n_classes", "prefix"), [("r3d", 1039, "module."), ("r2plus1d", 700, "")]
)
def test_published_keys_and_shapes_load_at_full_width(tmp_path, kind, n_classes, prefix):
    file = tmp_path / "published.pth"
    published = checkpoint(hara_shapes(kind, n_classes), prefix)
    torch.save(published, file)
    grey, colour = (VideoResNet(kind, in_channels=c) for c in (1, 3))
    head = grey.fc.weight.clone()
    load_pretrained(grey, file)
    load_pretrained(colour, file)
    stem = "conv1" if kind == "r3d" else "conv1_s"
    for name, t in colour.state_dict().items():
        if not name.startswith("fc."):
            assert torch.equal(t, published["state_dict"][prefix + name]), name
    assert torch.equal(grey.fc.weight, head)
    expected = published["state_dict"][f"{prefix}{stem}.weight"].sum(1, keepdim=True)
    assert torch.equal(getattr(grey, stem).weight, expected)
    x = torch.randn(1, 1, 2, 32, 32)
    torch.testing.assert_close(
        grey.frozen_stem(x, 1), colour.frozen_stem(x.expand(-1, 3, -1, -1, -1), 1)
    )


@pytest.mark.slow
def test_the_paper_profile_starts_from_the_files_in_data_weights(tmp_path):
    """Without files it starts at random.

    The run id depends on the content of a file, not on its path.
    """
    space = Workspace("paper", root=tmp_path)
    assert space.pretext("r3d_18") is None and space.pretext() is None
    published, file = (
        checkpoint(hara_shapes("r3d", 1039)),
        tmp_path / "data" / "weights" / "r3d18_KM_200ep.pth",
    )
    file.parent.mkdir(parents=True)
    torch.save(published, file)
    space = Workspace("paper", root=tmp_path)
    start = space.pretext("r3d_18")
    assert space.pretext() is None and start.label == "published weights r3d_18"
    assert execute([start], space.runs, workers=0, quiet=True).failed == ()
    weights = load_file(space.runs.folder(start) / "weights.safetensors")
    student = make_student(start.config.backbone)
    student.load_state_dict(weights)
    assert torch.equal(
        weights["layer4.1.conv2.weight"], published["state_dict"]["layer4.1.conv2.weight"]
    )
    file.write_bytes(b"another")
    assert Workspace("paper", root=tmp_path).pretext("r3d_18").id != start.id
    shutil.rmtree(space.runs.folder(start))
    [failure] = execute([start], space.runs, workers=0, quiet=True).failed
    assert (
        "r3d18_KM_200ep.pth: is not the checkpoint of this run; run the command again"
        in failure.reason
    )


def test_tar_format_of_old_torch_loads(tmp_path):
    state, file = narrow(), tmp_path / "old.pth"
    torch.save({"state_dict": state}, file, _use_new_zipfile_serialization=False)
    other = load_pretrained(VideoResNet("r3d", width=0.125), file)
    assert torch.equal(other.layer4[1].conv2.weight, state["layer4.1.conv2.weight"])


def narrow(kind="r3d"):
    """State of a network of width 0.125 with a published head.

    The projection to the embedding is missing, as in every published file.
    """
    state = VideoResNet(kind, width=0.125, n_classes=700).state_dict()
    return {name: t for name, t in state.items() if not name.startswith("project.")}


class _Unsafe:
    def __reduce__(self):
        return print, ("a pickle ran",)


def _narrow(change):
    state = narrow()
    change(state)
    return {"state_dict": state}


OTHER = narrow("r2plus1d")


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (_narrow(lambda s: s.pop("layer1.0.conv1.weight")), "missing: layer1.0.conv1.weight$"),
        (_narrow(lambda s: s.update(extra=torch.zeros(1))), "unexpected: extra$"),
        (
            _narrow(lambda s: s.update({"bn1.weight": torch.zeros(3)})),
            r"of wrong shape: bn1.weight \(3,\) for \(8,\)$",
        ),
        (
            {"state_dict": OTHER},
            f"missing: {', '.join(name for name in narrow() if name not in OTHER)}; unexpected: ",
        ),
        (_narrow(lambda s: s.pop("fc.weight")), "missing: fc.weight$"),
        (
            _narrow(lambda s: s.update({"fc.weight": torch.zeros(5, 512)})),
            r"of wrong shape: fc.weight \(5, 512\) for \(700, 512\) or \(1039, 512\)$",
        ),
        (
            _narrow(lambda s: s["layer1.0.bn1.running_var"][2:4].fill_(float("nan"))),
            "2 of 8 values of the tensor layer1.0.bn1.running_var are NaN or infinite; .* again$",
        ),
        (
            {"state_dict": {"module.fc.bias": torch.tensor([0.0, float("inf")])}},
            "1 of 2 values of the tensor module.fc.bias are NaN or infinite",
        ),
        ({"model": {}}, "holds no tensors under 'state_dict'"),
        ({"state_dict": {"conv1.weight": "no tensor"}}, "holds no tensors under 'state_dict'"),
        ([1, 2], "holds no tensors under 'state_dict'"),
        (_Unsafe(), "not a checkpoint of plain tensors"),
    ],
)
def test_any_other_file_is_refused_in_one_line_and_nothing_changes(tmp_path, capfd, content, says):
    file = tmp_path / "other.pth"
    torch.save(content, file)
    model = VideoResNet("r3d", width=0.125)
    before = {name: t.clone() for name, t in model.state_dict().items()}
    with pytest.raises(ValueError, match=says) as error:
        load_pretrained(model, file)
    assert "\n" not in str(error.value) and str(file) in str(error.value)
    assert all(torch.equal(t, before[name]) for name, t in model.state_dict().items())
    assert "a pickle ran" not in capfd.readouterr().out


def test_bytes_that_are_no_checkpoint_and_no_file(tmp_path):
    file = tmp_path / "noise.pth"
    for noise in (b"", b"<html>not found</html>", bytes(range(256))):
        file.write_bytes(noise)
        with pytest.raises(ValueError, match="not a checkpoint of plain tensors"):
            load_pretrained(VideoResNet("r3d", width=0.125), file)
    with pytest.raises(FileNotFoundError):
        load_pretrained(VideoResNet("r3d", width=0.125), tmp_path / "absent.pth")


def test_two_input_channels_have_no_published_stem(tmp_path):
    file = tmp_path / "published.pth"
    torch.save({"state_dict": narrow()}, file)
    with pytest.raises(ValueError, match=r"conv1.weight \(8, 3, 7, 7, 7\) for \(8, 2, 7, 7, 7\)"):
        load_pretrained(VideoResNet("r3d", width=0.125, in_channels=2), file)


def test_a_damaged_audio_teacher_is_refused_before_its_videos_are_read(tmp_path):
    file = tmp_path / "ucf101" / "Cnn14_emb512_mAP=0.420.pth"
    file.parent.mkdir()
    weights = torch.zeros(3, 4)
    weights[1, 2] = -float("inf")
    torch.save({"model": {"fc1.bias": torch.zeros(3), "fc1.weight": weights}}, file)
    space = Workspace("smoke", root=tmp_path / "root", ucf101=file.parent).ucf51
    with pytest.raises(ValueError, match=r"1 of 12 values of the tensor fc1.weight") as error:
        space.prepare(1)
    assert str(error.value).startswith(f"{file}: ") and "\n" not in str(error.value)
    assert not (tmp_path / "root" / "data").exists()


def panns_shapes():
    """Keys and shapes of the published Cnn14_emb512, written down without our network."""
    shapes = {
        "spectrogram_extractor.stft.conv_real.weight": (513, 1, 1024),
        "spectrogram_extractor.stft.conv_imag.weight": (513, 1, 1024),
        "logmel_extractor.melW": (513, 64),
        **{f"bn0.{part}": () if part == "num_batches_tracked" else (64,) for part in BN},
    }
    c_in = 1
    for block, c in enumerate((64, 128, 256, 512, 1024, 2048), 1):
        for n in (1, 2):
            shapes[f"conv_block{block}.conv{n}.weight"] = (c, c_in, 3, 3)
            c_in = c
            for part in BN:
                shapes[f"conv_block{block}.bn{n}.{part}"] = (
                    () if part == "num_batches_tracked" else (c,)
                )
    shapes |= {"fc1.weight": (512, 2048), "fc1.bias": (512,)}
    return shapes | {"fc_audioset.weight": (527, 512), "fc_audioset.bias": (527,)}


def test_cnn14_checkpoint(tmp_path):
    file = tmp_path / "Cnn14_emb512_mAP=0.420.pth"
    shapes = panns_shapes()
    # Views of one value keep the file small; real tensors would take 300 MB.
    state = {name: torch.tensor(0.5).expand(shape) for name, shape in shapes.items()}
    torch.save({"iteration": 1, "model": state}, file)
    teacher = CNN14(51)
    head = teacher.fc.weight.clone()
    load_cnn14(teacher, file)
    for name, t in teacher.state_dict().items():
        assert name.startswith("fc.") or (t == (0 if name.endswith("tracked") else 0.5)).all(), name
    assert torch.equal(teacher.fc.weight, head)
    learned = {
        n: s
        for n, s in shapes.items()
        if not n.endswith(("running_mean", "running_var", "tracked"))
    }
    n_parameters = sum(
        torch.Size(shape).numel() for name, shape in learned.items() if "extractor" not in name
    )
    assert round(n_parameters / 1e6, 1) == 76.8
    del state["conv_block3.bn2.bias"]
    torch.save({"model": state}, file)
    with pytest.raises(ValueError, match=r"missing: conv_block3.bn2.bias$"):
        load_cnn14(teacher, file)
    state |= {
        "conv_block3.bn2.bias": torch.zeros(256),
        "fc_audioset.weight": torch.zeros(1, 1).expand(50, 512),
    }
    torch.save({"model": state}, file)
    with pytest.raises(
        ValueError, match=r"of wrong shape: fc_audioset.weight \(50, 512\) for \(527, 512\)$"
    ):
        load_cnn14(teacher, file)
