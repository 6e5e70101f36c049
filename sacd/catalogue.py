"""Where each distillation method and EEG teacher lives.

Modules are named, not imported: the code of a run is then that of the one method and the one teacher that it uses, a
new line here leaves all other runs as they are, and listing runs takes no second of torch.
"""

from typing import Final

METHODS: Final = {
    "ce": "sacd.losses.base:Method",
    "kd": "sacd.losses.kd:KD",
    "fitnet": "sacd.losses.fitnet:FitNet",
    "pkt": "sacd.losses.pkt:PKT",
    "rkd": "sacd.losses.rkd:RKD",
    "sp": "sacd.losses.sp:SP",
    "crd": "sacd.losses.crd:CRD",
    "ifd": "sacd.losses.ifd:IFD",
    "cmc": "sacd.losses.cmc:CMC",
    "ccl": "sacd.losses.ccl:CCL",
    "sacd": "sacd.losses.sacd:SACD",
}

PUBLISHED: Final = {"r3d_18": "r3d18_KM_200ep.pth", "r2plus1d_18": "r2p1d18_K_200ep.pth"}
"""File names of the students' published weights; see `sacd.models.pretrained.load_pretrained`."""

TEACHERS: Final = {
    "attnsleep": "sacd.models.eeg:AttnSleep",
    "deepsleepnet": "sacd.models.eeg:DeepSleepNet",
    "modified_sen": "sacd.models.modified_sen:ModifiedSEN",
    "mc2sleepnet": "sacd.models.mc2sleepnet:MC2SleepNet",
}
