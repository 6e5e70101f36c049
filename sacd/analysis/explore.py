"""The small file behind `50_explore`: test clips of a few runs with predictions and a map.

`explore.parquet` has one row per run and clip: run, subject, clip, stage, prediction, confidence
(probability of the prediction), ahi, x, y (map of Fig. 10), and principal components of the
embeddings (pc00 ..., float16), from which maps of other perplexities are computed.
"""

import textwrap
from collections.abc import Mapping, Sequence
from html import escape
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
"""Most clips per run in the file; beyond that, whole subjects are left out from the end."""
_TEXT: Final = ("run", "subject")
_NEEDED: Final = frozenset(
    [*_TEXT, "clip", "stage", "prediction", "confidence", "ahi", "x", "y", "pc00"]
)


def components(embedding: ArrayLike, seed: int = 0) -> tuple[pd.DataFrame, float]:
    """First principal components of embeddings `(n, d)`, and the share of variance they explain.

    The components are scaled together to at most 1, which float16 resolves well. A common scale
    leaves t-SNE unchanged.
    """
    embedding = np.asarray(embedding, np.float64)
    pca = PCA(min(COMPONENTS, *embedding.shape), random_state=seed, svd_solver="full")
    values = pca.fit_transform(embedding - embedding.mean(0))
    scale = np.abs(values).max() or 1.0
    names = [f"pc{k:02d}" for k in range(values.shape[1])]
    table = pd.DataFrame(values / scale, columns=names).astype(np.float16)
    return table, float(pca.explained_variance_ratio_.sum())


def clips_of(
    run: str, predictions: pd.DataFrame, embedding: ArrayLike, xy: ArrayLike, ahi: pd.Series
) -> pd.DataFrame:
    """Rows of one run.

    Args:
        run: its name in the menu, such as `SACD, seed 0`.
        predictions: one row per clip, as a run writes them.
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
    small = {"clip": np.int32, "stage": np.int8, "prediction": np.int8}
    small |= dict.fromkeys(_TEXT, "category")
    path = Path(results) / FILE
    path.parent.mkdir(parents=True, exist_ok=True)
    write_parquet(path, table.astype(small))
    return path


def read(results: Path) -> pd.DataFrame:
    """Read the file under `results`.

    Raises:
        ValueError: the file is missing, or lacks a column.
    """
    path = Path(results) / FILE
    if not path.is_file():
        raise ValueError(f"{path} is missing; `make fig10` writes it")
    table = pd.read_parquet(path)
    if missing := _NEEDED - set(table):
        raise ValueError(
            f"{path} lacks the column(s) {', '.join(sorted(missing))}; `make fig10` writes it again"
        )
    return table.astype(dict.fromkeys(_TEXT, "str"))


def remap(table: pd.DataFrame, perplexity: float, seed: int = 0) -> pd.DataFrame:
    """The clips of one run, with x and y of a map of another perplexity."""
    if perplexity == PERPLEXITY:
        return table
    xy = np.asarray(fit_map(table.filter(regex=r"^pc\d\d$").astype(np.float64), perplexity, seed))
    return table.assign(x=xy[:, 0], y=xy[:, 1])


def choose(
    table: pd.DataFrame, run: str, stages: Sequence[str] = STAGES, subject: str = ""
) -> pd.DataFrame:
    """Clips of a run with some true stages, of one subject or (if empty) of all."""
    rows = (table["run"] == run) & table["stage"].isin([STAGES.index(s) for s in stages])
    return table[rows & (table["subject"] == subject if subject else True)]


def scatter(
    clips: pd.DataFrame, title: str, data: str, colours: Mapping[str, str] = COLOURS
) -> "go.Figure":
    """Interactive map of clips, coloured by true stage; wrong predictions are crosses.

    Hovering shows the clip, its prediction and the AHI. The figure is as wide as its container.

    Args:
        clips: rows of one run (`choose`).
        title: first line above the map.
        data: name of the data, shown below the title with the numbers of subjects and clips.
        colours: colour of each stage.
    """
    import plotly.express as px  # slow to import

    counts = clips["stage"].value_counts()
    labels = {k: f"{STAGES[k]} ({n:,})" for k, n in sorted(counts.items())}
    names = np.array(STAGES)
    points = pd.DataFrame(
        {
            "x": clips["x"].astype(float).round(2),
            "y": clips["y"].astype(float).round(2),
            "label": clips["stage"].map(labels),
            "outcome": np.where(clips["prediction"] == clips["stage"], "correct", "wrong"),
            "clip": clips["subject"] + ", clip " + clips["clip"].astype(str),
            "true": names[clips["stage"]],
            "predicted": names[clips["prediction"]],
            "confidence": (100 * clips["confidence"].astype(float)).round(),
            "ahi": clips["ahi"].astype(float).round(1),
            "group": [AHI_GROUPS[ahi_group(a)] for a in clips["ahi"]],
        }
    )
    figure = px.scatter(
        points,
        x="x",
        y="y",
        color="label",
        color_discrete_map={label: colours[STAGES[k]] for k, label in labels.items()},
        symbol="outcome",
        symbol_map={"correct": "circle", "wrong": "x-thin-open"},
        category_orders={"label": list(labels.values()), "outcome": ["correct", "wrong"]},
        custom_data=["clip", "true", "predicted", "confidence", "ahi", "group"],
        labels={"x": "t-SNE 1", "y": "t-SNE 2"},
        template="plotly_white",
        height=640,
        render_mode="svg",
    )
    figure.update_traces(
        marker_size=6,
        hovertemplate="%{customdata[0]}<br>true %{customdata[1]}, predicted %{customdata[2]}"
        " (%{customdata[3]} %)<br>AHI %{customdata[4]:.1f}/h (%{customdata[5]})<extra></extra>",
    )
    # One legend entry per stage hides and shows its correct and its wrong clips together.
    listed = set()
    for trace in figure.data:
        label = trace.name.rpartition(", ")[0]
        trace.update(name=label, legendgroup=label, showlegend=label not in listed)
        listed.add(label)
    sizes = ((clips["subject"].nunique(), "subject"), (len(clips), "clip"))
    size = "n = " + ", ".join(f"{n:,} {word}{'s' * (n != 1)}" for n, word in sizes)
    subtitle = [*map(escape, textwrap.wrap(data, 48)), size]  # lines of 48 characters fit a phone
    text = f"{title}<br><span style='font-size: 12px'>{'<br>'.join(subtitle)}</span>"
    figure.update_layout(
        autosize=True,
        margin={"l": 40, "r": 10, "t": 60 + 19 * len(subtitle), "b": 10},
        # Below plotly's own buttons.
        title={"text": text, "font_size": 15, "x": 0.01, "y": 0.935, "yanchor": "top"},
        legend={
            "title": {"text": "True stage (clips); × predicted wrongly", "side": "top"},
            "orientation": "h",
            "itemsizing": "constant",
            "yref": "container",
            "y": 0.01,
            "yanchor": "bottom",
        },
    )
    figure.update_xaxes(showticklabels=False)
    figure.update_yaxes(showticklabels=False, scaleanchor="x")
    return figure
