"""Distillation methods by name, one per file; `base.py` says what a method is.

Modules are named, not imported, for two reasons: a run's code hash then covers only the method that
it uses, so a new line here does not retrain anything, and listing runs does not import torch.
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
    "dist": "sacd.losses.dist:DIST",
    "logit_std": "sacd.losses.logit_std:LogitStd",
    "c2kd": "sacd.losses.c2kd:C2KD",
}
