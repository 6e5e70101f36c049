"""Outputs of a model in batches, and tables of predictions."""

import weakref

import numpy as np
import pandas as pd
import pytest
import torch

from sacd.files import sha256
from sacd.models.output import Output
from sacd.stages import STAGES
from sacd.training.common import labels_of, outputs_of, predictions, published_weights, rows_of

CLIPS = pd.DataFrame(
    {
        "subject": ["a", "a", "b", "b", "b"],
        "clip": [0, 1, 0, 1, 2],
        "onset_s": [0, 30, 0, 30, 60],
        "block": [0, 0, 1, 1, 1],
        "part": ["train", "train", "test", "test", "test"],
        "stage": [0, 1, 2, 3, 4],
    }
)


class Model(torch.nn.Linear):
    def forward(self, x, scale=None):
        y = super().forward(x)
        return Output(y if scale is None else y * scale, y[:, :2], (x, 2 * x))


@pytest.mark.parametrize("batch", [1, 2, 5, 128])
def test_outputs_do_not_depend_on_the_batch(batch):
    torch.manual_seed(0)
    model, x = Model(3, 4), torch.randn(5, 3)
    rows = np.array([4, 0, 2, 1, 3])
    output = outputs_of(model, lambda r: x[r], rows, batch, features=True)
    torch.testing.assert_close(output.embedding, model(x[rows]).embedding)
    assert torch.equal(output.features[1], 2 * x[rows]) and not model.training


def test_features_are_dropped_batch_by_batch_unless_asked_for():
    """Those of a long night would not fit: only one batch of them is alive at a time."""
    made = []

    class Featured(Model):
        def forward(self, x):
            output = super().forward(x)
            made.append(weakref.ref(output.features[1]))
            alive.append(sum(one() is not None for one in made))
            return output

    model, x, alive = Featured(3, 4), torch.randn(40, 3), []
    output = outputs_of(model, lambda r: x[r], np.arange(40), 4)
    assert output.features == () and len(alive) == 10 and max(alive) <= 2


def test_a_model_may_have_several_inputs():
    model, x = Model(3, 4), torch.ones(5, 3)
    output = outputs_of(model, lambda r: (x[r], torch.zeros(len(r), 1)), np.arange(5), 2)
    assert (output.embedding == 0).all() and output.logits.shape == (5, 2)


def test_predictions_are_the_softmax_of_the_logits():
    table = predictions(CLIPS, 10 * torch.eye(5).flip(0))
    assert table["prediction"].tolist() == [4, 3, 2, 1, 0]
    chances = table[[f"p_{stage}" for stage in STAGES]]
    assert np.allclose(chances.sum(axis=1), 1) and (chances.max(axis=1) > 0.99).all()
    assert table["subject"].equals(CLIPS["subject"])


def test_rows_and_labels():
    assert rows_of(CLIPS, "test").tolist() == [2, 3, 4]
    assert labels_of(CLIPS).tolist() == [0, 1, 2, 3, 4] and labels_of(CLIPS).dtype == torch.int64


def test_another_checkpoint_than_the_configured_is_refused(tmp_path):
    path = tmp_path / "a.pth"
    path.write_bytes(b"weights")
    assert published_weights(str(path), sha256(path)) == path
    with pytest.raises(ValueError, match=r"a\.pth: is not the checkpoint of this run"):
        published_weights(str(path), "0" * 64)
