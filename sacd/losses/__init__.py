"""Distillation methods by name, one per file; `base.py` says what a method is.

Modules are named, not imported: the code of a run is then that of the one method that it uses, a
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
