"""Figures as SVG text for the pages; the same tables give the same bytes."""

import io
from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from mlops.training import metrics

if TYPE_CHECKING:
    from matplotlib.axes import Axes

INK, FAINT, ACCENT, SECOND, LINE = "#1f2933", "#9aa5b1", "#2563eb", "#f59e0b", "#e4e7eb"
# The page's own names of these inks, which are others in its dark mode.
NAMES = {INK: "ink", FAINT: "faint", ACCENT: "accent", SECOND: "second", LINE: "line"}
STYLE: Any = {
    "svg.hashsalt": "figures",  # without a salt, the ids of elements are random
    "svg.fonttype": "none",  # text stays text: smaller, searchable, in the page's own font
    "text.parse_math": False,  # a label with two dollar signs is no formula
    "font.size": 9,
    "axes.edgecolor": FAINT,
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": LINE,
    "figure.facecolor": "none",  # the page is behind it
    "axes.facecolor": "none",
    "xtick.color": INK,
    "ytick.color": INK,
    "text.color": INK,
}
DASHED: Any = {"color": FAINT, "linestyle": "--", "linewidth": 1}
# The title of each curve, its columns on x and y, the labels of the axes, and the style.
CURVES: dict[str, tuple[str, str, str, str, str, dict[str, Any]]] = {
    "roc": ("ROC", "fpr", "tpr", "false positive rate", "true positive rate", {}),
    "precision_recall": ("Precision and recall", "recall", "precision", "recall", "precision", {}),
    "calibration": (
        *("Calibration", "predicted", "observed", "predicted probability", "observed share"),
        {"marker": "o", "markersize": 4},
    ),
    "residuals": (
        *("Residuals", "predicted", "residual", "predicted", "actual − predicted"),
        {"linestyle": "", "marker": "o", "markersize": 4, "alpha": 0.5},
    ),
}
RATES = {"selection_rate": "selected", "tpr": "true positive rate", "fpr": "false positive rate"}
# Sizes in inches; the place of the axes (left, bottom, width, height) as shares of the figure.
SQUARE, INSIDE = (3.4, 3.2), (0.17, 0.15, 0.76, 0.81)
WIDE, INSIDE_WIDE = (6.8, 3.2), (0.11, 0.15, 0.86, 0.81)
SMALL, INSIDE_LABELS = (3.4, 2.2), (0.42, 0.15, 0.51, 0.81)
LONGEST_LABEL = 19  # characters that have room beside INSIDE_LABELS
MOST_FEATURES = 15
MOST_GROUPS = 40
DARK = 0.7  # share of a class above which the text in its cell is white
UNITS = ((1e9, 1e9, "G"), (1e6, 1e6, "M"), (1e4, 1e3, "k"))  # from which number on, its size, its sign
MOST_NAMED = 12  # classes of a confusion up to which the cells have text


def _svg(
    draw: Callable[["Axes"], None], size: tuple[float, float], inside: tuple[float, float, float, float] | None = None
) -> str:
    """A figure of `size` (inches) with axes at `inside` (shares of the figure).

    Without `inside`, matplotlib makes room for labels of any length, which takes twice as long.
    """
    import matplotlib
    from matplotlib.figure import Figure
    from matplotlib.ticker import ScalarFormatter

    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=size, layout=None if inside else "constrained")
        axes = figure.add_axes(inside) if inside else figure.add_subplot()
        draw(axes)
        for axis in (axes.xaxis, axes.yaxis):
            if isinstance(axis.get_major_formatter(), ScalarFormatter):  # its power of ten has no room
                axis.set_major_formatter(_tick)
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", metadata=dict.fromkeys(("Date", "Creator", "Format", "Type")))
    svg = buffer.getvalue()
    for ink, name in NAMES.items():
        svg = svg.replace(f": {ink}", f": var(--{name}, {ink})")
    return svg[svg.index("<svg") :]


def _tick(value: float, _: object = None) -> str:
    """A number at an axis in few characters: 1.2M instead of 1200000."""
    size, sign = next(((size, sign) for least, size, sign in UNITS if abs(value) >= least), (1, ""))
    return f"{value / size:g}{sign}".replace("-", "−")


def of_evaluation(
    tables: Mapping[str, pd.DataFrame],
    headline: str,
    fairness: list[dict[str, Any]],
    decided: Mapping[str, Any] | None,
) -> dict[str, Any]:
    """All figures of an evaluation, by their names in the page; `tables` are the tables of `dvc plots`, by name.

    `decided` are the facts of `results.decision`.
    """
    before = {"calibration": tables["uncalibrated"]}
    return {
        "figures": of_curves(tables, before) + ([threshold(tables["threshold"], decided)] if decided else []),
        "importances": importances(tables["importances"], headline),
        "partial": partial_dependences(tables["partial_dependence"]),
        "rates": group_rates(fairness) if fairness else None,
    }


def of_curves(
    curves: Mapping[str, pd.DataFrame], before: Mapping[str, pd.DataFrame] | None = None
) -> list[dict[str, str]]:
    """A figure (`title`, `svg`) for each table of `mlops.evaluation.curves` that is not empty.

    With the tables of the version `before`, which have the same columns, each figure shows both versions.
    """
    earlier = before or {}
    tables = {name: (table, earlier.get(name, table[:0])) for name, table in curves.items() if len(table)}
    figures = [
        {"title": title, "svg": _curve(name, *tables[name])} for name, (title, *_) in CURVES.items() if name in tables
    ]
    if "confusion" in tables:
        figures.append({"title": "Confusion", "svg": confusion(*tables["confusion"])})
    return figures


def _curve(name: str, now: pd.DataFrame, before: pd.DataFrame) -> str:
    """A curve over its guide line, with the curve of the version before if that has rows."""
    _, x, y, xlabel, ylabel, style = CURVES[name]

    def draw(axes: "Axes") -> None:
        if name == "residuals":
            axes.axhline(0, **DASHED)
        elif name != "precision_recall":
            axes.plot([0, 1], [0, 1], **DASHED)
        if len(before):
            axes.plot(before[x], before[y], color=SECOND, label="before", **style)
        axes.plot(now[x], now[y], color=ACCENT, label="now", **style)
        if len(before):
            axes.legend(frameon=False)
        axes.set(xlabel=xlabel, ylabel=ylabel)
        if name != "residuals":
            axes.set(xlim=(0, 1), ylim=(0, 1.02))

    return _svg(draw, WIDE, INSIDE_WIDE) if name == "residuals" else _svg(draw, SQUARE, INSIDE)


def threshold(table: pd.DataFrame, decided: Mapping[str, Any]) -> dict[str, str]:
    """The figure (`title`, `svg`) of a metric or the cost per row over thresholds, with the threshold that is used."""
    at = decided["threshold"]
    end = max(table["threshold"].max(), at) or 1

    def draw(axes: "Axes") -> None:
        axes.axvline(at, **DASHED)
        axes.plot(table["threshold"], table["value"], color=ACCENT)
        axes.plot(at, decided["value"], color=SECOND, marker="o", markersize=6)
        shift = 4 if at < end / 2 else -4  # beside the line, at the end where the curve is not
        height = 0.93 if decided["costs"] else 0.02
        place: Any = {"xycoords": ("data", "axes fraction"), "textcoords": "offset points"}
        axes.annotate(f"{at:.3g}", (at, height), (shift, 0), ha="left" if shift > 0 else "right", **place)
        axes.set(xlabel="threshold", ylabel=decided["by"], xlim=(0, end))

    return {"title": "Threshold", "svg": _svg(draw, SQUARE, INSIDE)}


def confusion(counts: pd.DataFrame, before: pd.DataFrame) -> str:
    """The rows per pair of `actual` and `predicted` class, below the rows of the version before if that has any."""
    classes = [str(label) for label in counts["actual"].unique()]
    table = counts["rows"].to_numpy().reshape(len(classes), -1)
    earlier = {(str(actual), str(predicted)): rows for actual, predicted, rows in before.itertuples(index=False)}

    from matplotlib.colors import to_rgba

    def draw(axes: "Axes") -> None:
        shares = table / np.maximum(table.sum(axis=1)[:, None], 1)
        axes.imshow([[to_rgba(ACCENT, share) for share in row] for row in shares])  # light or dark is behind it
        axes.grid(visible=False)
        axes.set(xlabel="predicted", ylabel="actual")
        axes.set_xticks(range(len(classes)), classes)
        axes.set_yticks(range(len(classes)), classes)
        if len(classes) <= MOST_NAMED:
            for (row, column), rows in np.ndenumerate(table):
                then = earlier.get((classes[row], classes[column]), 0)
                text = f"{then:.0f}\n→ {rows:.0f}" if len(before) else f"{rows:.0f}"
                ink = "white" if shares[row, column] > DARK else INK
                axes.text(column, row, text, ha="center", va="center", color=ink)

    return _svg(draw, SQUARE)


def importances(table: pd.DataFrame, metric: str) -> str:
    """The most important features (`feature`, `importance`, `spread`; greatest first), as losses of `metric`."""
    shown = table.iloc[:MOST_FEATURES][::-1]

    def draw(axes: "Axes") -> None:
        axes.barh(shown["feature"], shown["importance"], xerr=shown["spread"], color=ACCENT, ecolor=FAINT, height=0.6)
        axes.grid(visible=False, axis="y")
        axes.set(xlabel=f"loss of {metrics.title(metric)} when shuffled")

    return _svg(draw, (6.8, 0.8 + 0.24 * len(shown)))


def partial_dependences(table: pd.DataFrame) -> list[dict[str, str]]:
    """A small figure (`title`, `svg`) per feature of `dependence.partial_dependence`, all on one scale."""
    low, high = table["mean"].min(), table["mean"].max()
    room = 0.06 * (high - low) or 0.5
    figures = []
    for name, part in table.groupby("feature", sort=False):
        draw, inside = (_levels, INSIDE_LABELS) if part["kind"].iloc[0] == "level" else (_values, INSIDE)
        svg = _svg(partial(draw, part=part, limits=(low - room, high + room)), SMALL, inside)
        figures.append({"title": str(name), "svg": svg})
    return figures


def _levels(axes: "Axes", part: pd.DataFrame, limits: tuple[float, float]) -> None:
    places = np.arange(len(part))
    labels = [label if len(label) <= LONGEST_LABEL else label[: LONGEST_LABEL - 1] + "…" for label in part["value"]]
    axes.hlines(places, limits[0], part["mean"], color=FAINT, linewidth=1)
    axes.plot(part["mean"], places, color=ACCENT, linestyle="", marker="o", markersize=4)
    axes.set_yticks(places, labels)
    axes.set(xlim=limits, ylim=(len(part) - 0.5, -0.5))


def _values(axes: "Axes", part: pd.DataFrame, limits: tuple[float, float]) -> None:
    # Dates stand side by side: a date that means "for ever" would leave no room for the others.
    is_number = part["kind"].iloc[0] == "number"
    places = part["value"].astype(float) if is_number else np.arange(len(part))
    axes.plot(places, part["mean"], color=ACCENT, marker="o", markersize=2.5)
    axes.set(ylim=limits)
    if not is_number:
        axes.set_xticks([0, len(part) - 1], part["value"].iloc[[0, -1]].str[:10])
        first, last = axes.get_xticklabels()
        first.set_horizontalalignment("left")
        last.set_horizontalalignment("right")  # or it would end outside the figure


def group_rates(columns: list[dict[str, Any]]) -> str:
    """The rates of up to 40 groups of `mlops.evaluation.fairness` with their intervals; small groups are faint."""
    groups = [(f"{column['column']} = {group['level']}", group) for column in columns for group in column["groups"]]
    shown = groups[:MOST_GROUPS]

    def draw(axes: "Axes") -> None:
        for shift, (name, title), color in zip((-0.22, 0, 0.22), RATES.items(), (INK, ACCENT, SECOND), strict=True):
            for place, (_, group) in enumerate(shown):
                if rate := group[name]:
                    style: Any = {"color": color, "alpha": 0.3 if group["small"] else 1}
                    axes.plot([rate["low"], rate["high"]], [place + shift] * 2, linewidth=1.5, **style)
                    axes.plot(rate["rate"], place + shift, marker="o", markersize=4, **style)
            axes.plot([], [], color=color, marker="o", markersize=4, label=title)
        axes.set_yticks(range(len(shown)), [name for name, _ in shown])
        axes.set(xlim=(0, 1), ylim=(len(shown) - 0.5, -0.5))
        axes.legend(frameon=False, loc="lower center", bbox_to_anchor=(0.5, 1), ncols=3)

    return _svg(draw, (6.8, 1 + 0.42 * len(shown)))
