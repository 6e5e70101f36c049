"""The small file behind `50_explore`: test clips of a few runs with predictions, AHI, principal components and a map.

`explore.parquet` holds one row for each run and clip: run, subject, clip, stage, prediction,
confidence (probability of the prediction), ahi, x, y (map of Fig. 10) and pc00 .. (float16), from
which a map of another perplexity is made.
"""

import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from sklearn.decomposition import PCA

from sacd.analysis.maps import PERPLEXITY, fit_map
from sacd.files import write_parquet
from sacd.stages import AHI_GROUPS, COLOURS, STAGES, ahi_group

if TYPE_CHECKING:
    import plotly.graph_objects as go

FILE: Final = "tables/explore.parquet"
"""Under `results/<profile>/`."""
COMPONENTS: Final = 16
LARGEST: Final = 3000
"""Clips a run that the file holds; of more, whole subjects are left out from the end."""
_TEXT: Final = ("run", "subject")


def components(embedding: ArrayLike, seed: int = 0) -> tuple[pd.DataFrame, float]:
    """First principal components of embeddings `(n, d)` as float16 columns, and the share of variance they hold."""
    embedding = np.asarray(embedding, np.float64)
    pca = PCA(min(COMPONENTS, *embedding.shape), random_state=seed, svd_solver="full")
    values = pca.fit_transform(embedding - embedding.mean(0))
    scale = np.abs(values).max() or 1.0
    table = pd.DataFrame(
        values / scale, columns=[f"pc{k:02d}" for k in range(values.shape[1])]
    ).astype(np.float16)
    return table, float(pca.explained_variance_ratio_.sum())


def clips_of(
    run: str, predictions: pd.DataFrame, embedding: ArrayLike, xy: ArrayLike, ahi: pd.Series
) -> pd.DataFrame:
    """Rows of one run.

    Args:
        run: what it is called, such as `SACD, seed 0`.
        predictions: one row a clip, as a run writes them.
        embedding, xy: `(n, d)` and `(n, 2)`, in the order of the predictions.
        ahi: events/h by subject.
    """
    confidence = predictions[[f"p_{s}" for s in STAGES]].max(axis=1).astype(np.float16)
    xy = np.asarray(xy, np.float16)
    table = predictions[["subject", "clip", "stage", "prediction"]].reset_index(drop=True)
    table = table.assign(
        run=run, confidence=confidence.to_numpy(), ahi=ahi[table["subject"]].to_numpy(np.float32)
    )
    return pd.concat([table.assign(x=xy[:, 0], y=xy[:, 1]), components(embedding)[0]], axis=1)


def write(tables: Sequence[pd.DataFrame], results: Path) -> Path:
    """Write the rows of all runs to `FILE` under `results`; equal tables give equal bytes."""
    table = pd.concat(tables, ignore_index=True)
    subjects = table[table["run"] == table["run"].iloc[0]].groupby("subject").size().sort_index()
    kept = subjects.index[(subjects.cumsum() <= LARGEST) | (np.arange(len(subjects)) == 0)]
    table = table[table["subject"].isin(kept)].reset_index(drop=True)
    small = {"clip": np.int32, "stage": np.int8, "prediction": np.int8} | dict.fromkeys(
        _TEXT, "category"
    )
    path = Path(results) / FILE
    path.parent.mkdir(parents=True, exist_ok=True)
    write_parquet(path, table.astype(small))
    return path


def read(results: Path) -> pd.DataFrame:
    """The file under `results`.

    Raises:
        ValueError: it is not there, or lacks a column.
    """
    path = Path(results) / FILE
    if not path.is_file():
        raise ValueError(f"{path} is missing; `make fig10` writes it")
    table = pd.read_parquet(path)
    needed = {
        "run",
        "subject",
        "clip",
        "stage",
        "prediction",
        "confidence",
        "ahi",
        "x",
        "y",
        "pc00",
    }
    if missing := needed - set(table):
        raise ValueError(
            f"{path} lacks the column(s) {', '.join(sorted(missing))}; write it again with `make fig10`"
        )
    return table.astype(dict.fromkeys(_TEXT, "str"))


def remap(table: pd.DataFrame, perplexity: float, seed: int = 0) -> pd.DataFrame:
    """The clips of one run with x, y of a map of another perplexity, made from the principal components."""
    if perplexity == PERPLEXITY:
        return table
    xy = np.asarray(fit_map(table.filter(regex=r"^pc\d\d$").astype(np.float64), perplexity, seed))
    return table.assign(x=xy[:, 0], y=xy[:, 1])


def choose(
    table: pd.DataFrame, run: str, stages: Sequence[str] = STAGES, subject: str = ""
) -> pd.DataFrame:
    """The clips of a run of some true stages, of one subject or (empty) of all."""
    rows = (table["run"] == run) & table["stage"].isin([STAGES.index(s) for s in stages])
    return table[rows & (table["subject"] == subject if subject else True)]


def scatter(
    clips: pd.DataFrame, title: str, data: str, colours: Mapping[str, str] = COLOURS
) -> "go.Figure":
    """Interactive map: a point a clip, coloured by true stage, wrong ones as crosses; hover tells clip and AHI.

    It is as wide as where it is shown. `data` names the data; it stands under the title with the
    number of subjects and clips.
    """
    import plotly.graph_objects as go  # slow to import

    sizes = ((clips["subject"].nunique(), "subject"), (len(clips), "clip"))
    size = "n = " + ", ".join(f"{n:,} {word}{'s' * (n != 1)}" for n, word in sizes)
    small = [*textwrap.wrap(data, 48), size]  # lines of 48 characters fit a phone
    figure = go.Figure(
        layout={
            "template": "plotly_white", "autosize": True, "height": 640, "showlegend": True,
            "margin": {"l": 40, "r": 10, "t": 60 + 19 * len(small), "b": 10},
            "title": {  # below plotly's buttons
                "text": f"{title}<br><span style='font-size: 12px'>{'<br>'.join(small)}</span>",
                "font": {"size": 15}, "x": 0.01, "y": 0.935, "yanchor": "top",
            },
            "legend": {
                "title": {"text": "true stage (clips); × predicted wrongly", "side": "top"},
                "orientation": "h", "itemsizing": "constant", "yref": "container", "y": 0.01, "yanchor": "bottom",
            },
        }
    )  # fmt: skip
    for label, name in enumerate(STAGES):
        part = clips[clips["stage"] == label]
        if part.empty:
            continue
        groups = {a: AHI_GROUPS[ahi_group(a)] for a in part["ahi"].unique()}
        hover = [
            f"{c.subject}, clip {c.clip}<br>true {name}, predicted {STAGES[c.prediction]} ({100 * c.confidence:.0f} %)"
            f"<br>AHI {c.ahi:.1f}/h ({groups[c.ahi]})"
            for c in part.itertuples()
        ]
        symbols = np.where(part["prediction"] != label, "x-thin-open", "circle").tolist()
        marker = {"color": colours[name], "size": 6}
        figure.add_scatter(
            x=part["x"].round(2).tolist(), y=part["y"].round(2).tolist(), mode="markers", legendgroup=name,
            showlegend=False, text=hover, hoverinfo="text", marker=marker | {"symbol": symbols},
        )  # fmt: skip
        # The legend would show the symbol of the first point, be it a cross; an empty trace stands
        # there instead.
        figure.add_scatter(
            x=[None],
            y=[None],
            mode="markers",
            legendgroup=name,
            name=f"{name} ({len(part):,})",
            marker=marker,
        )
    figure.update_xaxes(title="t-SNE 1", showticklabels=False)
    figure.update_yaxes(title="t-SNE 2", showticklabels=False, scaleanchor="x")
    return figure
