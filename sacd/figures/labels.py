"""Names of metrics and of the quantities that training records, with their units."""

from typing import Final

from sacd.figures.base import sentence
from sacd.stages import STAGES

NAMES: Final = {
    "accuracy": "accuracy (%)",
    "macro_f1": "macro-F1 (%)",
    "kappa": "Cohen's kappa",
    "auc": "macro AUC, one stage against the rest",
    "kappa_calibrated": "kappa after one bias per class",
    "macro_f1_calibrated": "macro-F1 after one bias per class (%)",
} | {stage: f"recall of {stage} (%)" for stage in STAGES}
"""Labels, with units, of `sacd.metrics.METRICS` and of the endpoints of `sacd.analysis.auc`.

`base.sentence` capitalises them.
"""

TERMS: Final = {
    "loss_ce": "cross-entropy (nats)",
    "loss_structure": r"$\lambda_1 L_D$ (squared distance)",
    "loss_contrastive": r"$\lambda_2 L_C$ (cosine)",
    "loss_jsd": r"$\lambda_3$ JSD (nats)",
    "loss_ccl_contrast": "CCL: contrast (nats)",
    "loss_ccl_divergence": "CCL: divergence (nats)",
    "loss_ccl_head": "CCL: loss of the head (nats)",
    "structure": "$L_D$ (squared distance)",
    "contrastive": "$L_C$, mean hinge (cosine)",
    "negatives": "valid negatives (number per anchor)",
    "active": "$L_C$, share of hinges above 0 (0..1)",
    "positive": "matched pair (cosine)",
    "jsd": "JSD (nats)",
    "retrieval_rank": "retrieval rank (0.5: chance)",
    "auc_graph": "graph matching (AUC)",
    "hinge": "hinge, fixed negatives (cosine)",
}
"""Labels of the quantities that training records, with units.

The prefix `validation_` of a name stands for held-out nights.
"""
PAIRS: Final = {
    "d_matched": ("Distance $d$ of two graphs (squared)", "matched"),
    "d_mismatched": ("Distance $d$ of two graphs (squared)", "mismatched"),
    "spread_video": ("Spread of the graphs (0..1)", "video"),
    "spread_eeg": ("Spread of the graphs (0..1)", "EEG"),
}
"""Quantities that share a panel: its title, and the name of the quantity in it."""
_ROWS: Final = {
    "A": "A (one layer, frozen)",
    "B": "B (three layers, frozen)",
    "C": "C (A, fine-tuned)",
    "D": "D (B, fine-tuned)",
    "E": "E (EEG taught by video)",
    "F": "F (E, video fine-tuned)",
    "G": "G (F, by CCL)",
    "v0": "v0 (no distillation)",
    "v1": "v1 (no $L_D$)",
    "v2": "v2 (no JSD)",
    "v3": "v3 (no $L_C$)",
    "v4": "v4 ($L_C$ of video only)",
    "v4, other direction": "v4 ($L_C$ of EEG only)",
    "ours": "SACD (all terms)",
}
"""Rows of Tables IV and V: the paper's short names, and what they stand for."""
_KINDS: Final = {
    "-": "video alone, {}",
    "teacher": "EEG teacher {}",
    "control": "control: {}",
    "baseline": "baseline: {}",
    "bound": "bound: {}",
}


def row_name(row: str) -> str:
    """The row of a table in words, for figures; the tables themselves keep their short names.

    >>> row_name("-/R(2+1)D-18"), row_name("AttnSleep/SACD"), row_name("CCL")
    ('video alone, R(2+1)D-18', 'SACD, taught by AttnSleep', 'CCL')
    """
    kind, slash, rest = row.partition("/")
    if not slash:
        return _ROWS.get(row, row)
    return _KINDS.get(kind, f"{{}}, taught by {kind}").format(rest)


def panel_title(term: str) -> str:
    """Title of the panel of a term."""
    bare = term.removeprefix("validation_")
    if bare in PAIRS:
        name = PAIRS[bare][0]
    else:
        name = TERMS.get(bare) or NAMES.get(bare, bare.replace("_", " "))
    return sentence(name if bare == term else f"held out: {name}")
