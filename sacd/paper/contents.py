"""One table of items: tables and figures of the paper and our additions, with their notebooks.

`make ITEM`, `reproduce --only ITEM`, the README and the report use it. It is in paper/ so that
report/ can read it without experiments/. It needs only the standard library, because `make help`
runs this file before an environment exists.
"""

from typing import Final, NamedTuple


class Item(NamedTuple):
    """Tables and figures that one notebook makes."""

    target: str
    """Name for `make` and `reproduce --only`."""
    notebook: str
    title: str
    also: tuple[str, ...] = ()
    """Other tables and figures of the same notebook; each is a target as well."""
    beyond: bool = False
    """Made by `make beyond` and not by `make reproduce`."""


CONTENTS: Final = (
    Item("tour", "00_tour", "one night, from file to prediction"),
    Item("method", "01_method", "SACD on one batch, step by step"),
    Item("fig2", "10_fig2_cohort", "Fig. 2, Tables I and VI, splits", ("table1", "table6")),
    Item("table2", "20_table2_comparison", "Table II, the comparison"),
    Item("table3", "21_table3_ucf51", "Table III, audio to video on UCF51"),
    Item("table4", "22_table4_fusion", "Table IV, fusion and reverse distillation"),
    Item("table5", "23_table5_ablation", "Table V, the ablation of SACD"),
    Item("tuning", "24_tuning", "the same small grid of one weight for every method"),
    Item("fig5", "30_fig5_hyperparameters", "Fig. 5, grids of the loss weights"),
    Item("fig6", "31_fig6_confusion", "Fig. 6, confusion matrices"),
    Item("fig7", "32_fig7_ahi_spearman", "Fig. 7, Spearman of embedding and AHI"),
    Item(
        "fig8",
        "33_fig8_fig9_ahi_portrait",
        "Figs. 8 and 9, t-SNE of subjects and clips by AHI",
        ("fig9",),
    ),
    Item("fig10", "34_fig10_stage_tsne", "Fig. 10, t-SNE of clips by stage"),
    Item(
        "fig11",
        "35_fig11_fig13_cases",
        "Figs. 11 to 13, cases and error types",
        ("fig12", "fig13"),
    ),
    Item("readings", "40_readings", "readings of what the paper leaves open", beyond=True),
    Item("audit", "41_paper_audit", "the paper's printed numbers checked against each other"),
    Item("mc2sleepnet", "42_mc2sleepnet", "MC2SleepNet beside the EEG teachers"),
    Item("few_labels", "43_few_labels", "who gains when few nights are scored", beyond=True),
    Item("simulator", "44_simulator_and_reality", "the simulator beside real nights", beyond=True),
    Item("night", "45_night", "whole nights from video alone: context, breathing, movement"),
    Item("explore", "50_explore", "explore the embeddings: an interactive map"),
)


def items() -> dict[str, Item]:
    """Items by name: by their targets, then by their other names.

    >>> items()["fig9"].notebook == items()["fig8"].notebook
    True
    """
    found = {item.target: item for item in CONTENTS}
    return found | {name: item for item in CONTENTS for name in item.also}


def notebook_of(name: str) -> str:
    """The notebook that makes an item; the name of a notebook is returned unchanged.

    Raises:
        ValueError: there is no such item; the message lists them.

    >>> notebook_of("table6"), notebook_of("00_tour")
    ('10_fig2_cohort', '00_tour')
    """
    known = items() | {item.notebook: item for item in CONTENTS}
    if name not in known:
        raise ValueError(f"no item {name!r}; known: {', '.join(items())}")
    return known[name].notebook


def _help() -> None:
    """Print the items for `make help`."""
    for item in CONTENTS:
        also = f" (also {', '.join(item.also)})" if item.also else ""
        print(f"  {item.target:<12}{item.title}{also}")


if __name__ == "__main__":
    _help()
