"""Video students, EEG and audio teachers, graph network, memory banks, fusion heads; the teachers by name.

Modules are named, not imported: the code of a run is then that of the one teacher that it uses, a
new line here leaves all other runs as they are, and listing runs takes no second of torch. The
files of published weights stand here, not in `pretrained.py`, for the same reason.
"""

from typing import Final

TEACHERS: Final = {
    "attnsleep": "sacd.models.eeg:AttnSleep",
    "deepsleepnet": "sacd.models.eeg:DeepSleepNet",
    "modified_sen": "sacd.models.modified_sen:ModifiedSEN",
    "mc2sleepnet": "sacd.models.mc2sleepnet:MC2SleepNet",
}

PUBLISHED: Final = {"r3d_18": "r3d18_KM_200ep.pth", "r2plus1d_18": "r2p1d18_K_200ep.pth"}
"""File names of the students' published weights; see `sacd.models.pretrained.load_pretrained`."""
