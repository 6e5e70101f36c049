"""Networks: video students, EEG and audio teachers, graph network, fusion; the teachers by name.

Teachers are listed as import paths and not imported. The fingerprint of a run then covers only the
teacher it uses, a new entry does not invalidate other runs, and listing runs does not import torch.
For the same reason, the file names of published weights are here and not in `pretrained.py`.
"""

from typing import Final

TEACHERS: Final = {
    "attnsleep": "sacd.models.braindecode_teachers:AttnSleep",
    "deepsleepnet": "sacd.models.braindecode_teachers:DeepSleepNet",
    "modified_sen": "sacd.models.modified_sen:ModifiedSEN",
    "mc2sleepnet": "sacd.models.mc2sleepnet:MC2SleepNet",
}

RATES: Final = {
    "attnsleep": (100, 125),
    "deepsleepnet": range(32, 513),
    "modified_sen": range(32, 513),
    "mc2sleepnet": range(32, 513),
}
"""Sampling rates in Hz that a teacher takes, as its class and `build_teacher` hold them.

AttnSleep's attention has a fixed length at each of its two published rates.
"""

PUBLISHED: Final = {"r3d_18": "r3d18_KM_200ep.pth", "r2plus1d_18": "r2p1d18_K_200ep.pth"}
"""File names of the students' published weights; see `sacd.models.pretrained.load_pretrained`."""
