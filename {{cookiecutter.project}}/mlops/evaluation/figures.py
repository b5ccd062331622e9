"""Figures as SVG text, the same bytes each time, to be set into a page."""

import io
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from mlops.training import metrics

if TYPE_CHECKING:
    from matplotlib.axes import Axes

INK, FAINT, ACCENT, SECOND = "#1f2933", "#9aa5b1", "#2563eb", "#f59e0b"
STYLE: Any = {
    "svg.hashsalt": "figures",  # else element ids are random
    "svg.fonttype": "none",  # text stays text: smaller, searchable, in the page's own font
    "text.parse_math": False,  # a label with two dollar signs is a label
    "font.size": 9,
    "axes.edgecolor": FAINT,
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#e4e7eb",
    "xtick.color": INK,
    "ytick.color": INK,
    "text.color": INK,
}
SQUARE = (3.4, 3.2)
INSIDE = (0.17, 0.15, 0.79, 0.81)
RATES = {"selection_rate": "selected", "tpr": "true positive rate", "fpr": "false positive rate"}
MOST_GROUPS = 40
LABELS = (0.42, 0.15, 0.54, 0.81)  # room for names of up to so many characters:
LONGEST_LABEL = 19
DARK = 0.7  # share of a class from which its cell is too dark for ink
MOST_NAMED = 12  # classes of a confusion whose rows are written into it


def _svg(
    draw: Callable[["Axes"], None], size: tuple[float, float], inside: tuple[float, float, float, float] | None = None
) -> str:
    """One figure of `size` (inches); `inside` is where its axes stand, as shares of the figure.

    Without it, room is made for names of any length, for which everything is drawn twice.
    """
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=size, layout=None if inside else "constrained")
        draw(figure.add_axes(inside) if inside else figure.add_subplot())
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", metadata=dict.fromkeys(("Date", "Creator", "Format", "Type")))
    svg = buffer.getvalue()
    return svg[svg.index("<svg") :]


def of_curves(
    curves: Mapping[str, pd.DataFrame], before: Mapping[str, pd.DataFrame] | None = None
) -> list[dict[str, str]]:
    """A figure (`title`, `svg`) for each table of `mlops.evaluation.curves` that is not empty.

    With those of the version `before` it, whose tables have the same columns, both are drawn into one.
    """
    kinds = {
        "roc": ("ROC", roc),
        "precision_recall": ("Precision and recall", precision_recall),
        "calibration": ("Calibration", calibration),
        "confusion": ("Confusion", confusion),
        "residuals": ("Residuals", residuals),
    }
    earlier = before or {}
    return [
        {"title": title, "svg": draw(curves[name], earlier.get(name, curves[name][:0]))}
        for name, (title, draw) in kinds.items()
        if len(curves[name])
    ]


def of_evaluation(
    tables: Mapping[str, pd.DataFrame], headline: str, fairness_of: list[dict[str, Any]]
) -> dict[str, Any]:
    """All figures of an evaluation, by what the page calls them; `tables` are those that `dvc plots` has, by name."""
    return {
        "figures": of_curves(tables),
        "importances": importances(tables["importances"], headline),
        "partial": partial_dependences(tables["partial_dependence"]),
        "rates": fairness(fairness_of) if fairness_of else None,
    }


def roc(curve: pd.DataFrame, before: pd.DataFrame) -> str:
    """The ROC curve (`fpr`, `tpr`) over the diagonal of guessing."""

    def draw(axes: "Axes") -> None:
        axes.plot([0, 1], [0, 1], color=FAINT, linestyle="--", linewidth=1)
        _both(axes, before, curve, "fpr", "tpr")
        axes.set(xlabel="false positive rate", ylabel="true positive rate", xlim=(0, 1), ylim=(0, 1.02))

    return _svg(draw, SQUARE, INSIDE)


def precision_recall(curve: pd.DataFrame, before: pd.DataFrame) -> str:
    """Precision over recall."""

    def draw(axes: "Axes") -> None:
        _both(axes, before, curve, "recall", "precision")
        axes.set(xlabel="recall", ylabel="precision", xlim=(0, 1), ylim=(0, 1.02))

    return _svg(draw, SQUARE, INSIDE)


def calibration(bins: pd.DataFrame, before: pd.DataFrame) -> str:
    """Observed share over predicted probability (`predicted`, `observed`); on the diagonal, a probability is one."""

    def draw(axes: "Axes") -> None:
        axes.plot([0, 1], [0, 1], color=FAINT, linestyle="--", linewidth=1)
        _both(axes, before, bins, "predicted", "observed", marker="o", markersize=4)
        axes.set(xlabel="predicted probability", ylabel="observed share", xlim=(0, 1), ylim=(0, 1.02))

    return _svg(draw, SQUARE, INSIDE)


def confusion(counts: pd.DataFrame, before: pd.DataFrame) -> str:
    """Rows per pair of `actual` and `predicted` class; with a version before, below its rows."""
    classes = [str(label) for label in counts["actual"].unique()]
    table = pd.DataFrame(counts["rows"].to_numpy().reshape(len(classes), -1), classes, classes)
    earlier = {
        (str(actual), str(predicted)): int(rows)
        for actual, predicted, rows in zip(before["actual"], before["predicted"], before["rows"], strict=True)
    }

    def draw(axes: "Axes") -> None:
        rates = table.to_numpy() / np.maximum(table.sum(axis=1).to_numpy()[:, None], 1)
        axes.imshow(rates, cmap="Blues", vmin=0, vmax=1.2)
        axes.grid(visible=False)
        axes.set(xlabel="predicted", ylabel="actual")
        axes.set_xticks(range(len(table.columns)), classes)
        axes.set_yticks(range(len(table)), classes)
        if len(table) <= MOST_NAMED:
            for (row, column), rows in np.ndenumerate(table.to_numpy()):
                then = earlier.get((classes[row], classes[column]), 0)
                text = f"{then:.0f}\n→ {rows:.0f}" if len(before) else f"{rows:.0f}"
                ink = "white" if rates[row, column] > DARK else INK
                axes.text(column, row, text, ha="center", va="center", color=ink)

    return _svg(draw, SQUARE)


def residuals(points: pd.DataFrame, before: pd.DataFrame) -> str:
    """Residual (actual − predicted) over prediction."""

    def draw(axes: "Axes") -> None:
        axes.axhline(0, color=FAINT, linestyle="--", linewidth=1)
        _both(axes, before, points, "predicted", "residual", linestyle="", marker="o", markersize=3, alpha=0.5)
        axes.set(xlabel="predicted", ylabel="actual − predicted")

    return _svg(draw, (6.8, 3.2), (0.11, 0.15, 0.87, 0.81))


def _both(axes: "Axes", before: pd.DataFrame, now: pd.DataFrame, x: str, y: str, **style: Any) -> None:
    """Draw a table, and the one of the version before it, if that has rows, in another colour and with a legend."""
    if len(before):
        axes.plot(before[x], before[y], color=SECOND, label="before", **style)
    axes.plot(now[x], now[y], color=ACCENT, label="now", **style)
    if len(before):
        axes.legend(frameon=False)


def importances(table: pd.DataFrame, metric: str) -> str:
    """The fifteen features (`feature`, `importance`, `spread`; greatest first) that matter most, by a metric's name."""
    shown = table.iloc[:15][::-1]

    def draw(axes: "Axes") -> None:
        axes.barh(shown["feature"], shown["importance"], xerr=shown["spread"], color=ACCENT, ecolor=FAINT, height=0.6)
        axes.grid(visible=False, axis="y")
        axes.set(xlabel=f"loss of {metrics.title(metric)} when shuffled")

    return _svg(draw, (6.8, 0.8 + 0.24 * len(shown)))


def partial_dependences(table: pd.DataFrame) -> list[dict[str, str]]:
    """A small figure (`title`, `svg`) per feature of `dependence.partial_dependence`, all on one scale."""
    low, high = table["mean"].min(), table["mean"].max()
    room = 0.06 * (high - low) or 0.5

    def line(part: pd.DataFrame) -> Callable[["Axes"], None]:
        def draw(axes: "Axes") -> None:
            number, level = (part["kind"].iloc[0] == kind for kind in ("number", "level"))
            # Dates stand side by side: one that means "for ever" would leave no room for the others.
            places = part["value"].astype(float) if number else np.arange(len(part))
            if level:
                axes.hlines(places, low - room, part["mean"], color=FAINT, linewidth=1)
                axes.plot(part["mean"], places, color=ACCENT, linestyle="", marker="o", markersize=4)
                axes.set_yticks(
                    places,
                    [
                        value if len(value) <= LONGEST_LABEL else value[: LONGEST_LABEL - 1] + "…"
                        for value in part["value"]
                    ],
                )
                axes.set(xlim=(low - room, high + room), ylim=(len(part) - 0.5, -0.5))
                return
            axes.plot(places, part["mean"], color=ACCENT, marker="o", markersize=2.5)
            axes.set(ylim=(low - room, high + room))
            if not number:
                axes.set_xticks([0, len(part) - 1], part["value"].iloc[[0, -1]].str[:10])

        return draw

    return [
        {"title": str(name), "svg": _svg(line(part), (3.4, 2.2), INSIDE if part["kind"].iloc[0] != "level" else LABELS)}
        for name, part in table.groupby("feature", sort=False)
    ]


def fairness(columns: list[dict[str, Any]]) -> str:
    """Rates with their intervals per group of `mlops.evaluation.fairness`, at most 40 groups; small ones are faint."""
    groups = [(f"{column['column']} = {group['level']}", group) for column in columns for group in column["groups"]]
    shown = groups[:MOST_GROUPS]

    def draw(axes: "Axes") -> None:
        for shift, (name, title), color in zip((-0.22, 0, 0.22), RATES.items(), (INK, ACCENT, SECOND), strict=True):
            for place, (_, group) in enumerate(shown):
                if group[name]:
                    rate, low, high = (group[name][end] for end in ("rate", "low", "high"))
                    alpha = 0.3 if group["small"] else 1
                    axes.plot([low, high], [place + shift] * 2, color=color, linewidth=1.5, alpha=alpha)
                    axes.plot(rate, place + shift, color=color, marker="o", markersize=4, alpha=alpha)
            axes.plot([], [], color=color, marker="o", markersize=4, label=title)
        axes.set_yticks(range(len(shown)), [name for name, _ in shown])
        axes.set(xlim=(0, 1), ylim=(len(shown) - 0.5, -0.5))
        axes.legend(frameon=False, loc="lower center", bbox_to_anchor=(0.5, 1), ncols=3)

    return _svg(draw, (6.8, 1 + 0.42 * len(shown)))
