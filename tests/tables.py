"""A corpus of tables as people really have them: each knows how it is written, and what a project must make of it."""

import csv
import gzip
import io
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from itertools import cycle
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

Task = Literal["binary", "multiclass", "regression"]
Fields = Mapping[str, Any]
Write = Callable[[Path], None]

REGIONS = ("Nord", "Ost", "Süd", "West")
ROWS = 200
PROSE = ("the device", "arrived", "late and", "broken", "on a monday", "as always", "so we", "sent it back", "at once")
MISSING = (
    *("", "NA", "N/A", "n/a", "n.a.", "NaN", "nan", "NaT", "<NA>", "null", "NULL", "\\N", "?", "-", "--", " ", " NA "),
    *("#N/A", "#DIV/0!", "#VALUE!", "#REF!"),
)
# What `frame` holds, as schema.yaml is to have it.
USUAL: dict[str, Fields] = {
    "customer": {"type": "category", "role": "id"},
    "age": {"type": "integer", "role": "feature"},
    "amount": {"type": "number", "role": "feature"},
    "region": {"type": "category", "role": "feature", "allowed": list(REGIONS)},
    "joined": {"type": "datetime", "role": "time"},
    "active": {"type": "boolean", "role": "feature"},
    "score": {"type": "number", "role": "feature"},
}
NUMBER: Fields = {"type": "number", "role": "feature"}
INTEGER: Fields = {"type": "integer", "role": "feature"}
BOOLEAN: Fields = {"type": "boolean", "role": "feature"}
CATEGORY: Fields = {"type": "category", "role": "feature"}
DATETIME: Fields = {"type": "datetime", "role": "feature"}
TEXT: Fields = {"type": "text", "role": "ignore"}
IGNORED: Fields = {"role": "ignore"}


@dataclass(frozen=True)
class Table:
    """One table: `write` lays its files into a folder; the rest is what must come out.

    `columns` holds a subset of each column's fields in schema.yaml, `comments` a word of its comment there, `truth` the
    prepared rows (in any order) of some columns, `classes` the labels in order, `rare` those that are fewer than folds,
    `unlabelled` the number of rows without a target, `unparseable` the columns with values of another type, and `least`
    the headline metric that the signal in it allows at least. If `delivered`, the same comes in as the next delivery.
    `refused` is what the one sentence says with which the project stops, `by` the command that says it.
    """

    name: str
    write: Write
    target: str = "churn"
    task: Task = "binary"
    rows: int = 0
    columns: Mapping[str, Fields] = field(default_factory=dict)
    comments: Mapping[str, str] = field(default_factory=dict)
    truth: Callable[[], pd.DataFrame] | None = None
    classes: tuple[str, ...] = ()
    positive: str | None = None
    rare: tuple[str, ...] = ()
    unlabelled: int = 0
    unparseable: tuple[str, ...] = ()
    least: float | None = None
    delivered: bool = False
    refused: str = ""
    by: str = "infer"


# ---- making


def frame(rows: int = ROWS, seed: int = 0) -> pd.DataFrame:
    """Customers, one a row: a key, an integer, a number, a category, a day, a truth, and a number with gaps."""
    rng = np.random.default_rng(seed)
    score = np.round(rng.normal(size=rows), 4)
    score[rng.random(rows) < 0.05] = np.nan
    days = rng.integers(0, 900, rows)
    return pd.DataFrame(
        {
            "customer": [f"K-{number}" for number in 1000 + rng.permutation(rows)],
            "age": rng.integers(18, 81, rows),
            "amount": np.round(rng.lognormal(6.5, 1, rows), 2),
            "region": rng.choice(REGIONS, rows),
            "joined": pd.Timestamp("2021-01-01") + pd.to_timedelta(days, "D"),
            "active": rng.random(rows) < 0.6,
            "score": score,
        }
    )


def signal(data: pd.DataFrame) -> pd.Series:
    """What the columns of `frame` say about a target, with noise: mean about 0, spread about 1.4."""
    noise = np.random.default_rng(len(data)).normal(0, 0.4, len(data))
    return (data["age"] - 49) / 18 - 1.5 * data["active"] + 0.9 + noise


def with_classes(data: pd.DataFrame, *labels: Any, shares: Sequence[float] = (), name: str = "churn") -> pd.DataFrame:
    """A target of as many classes as labels, of these shares (equal by default) of the rows."""
    shares = shares or [1 / len(labels)] * len(labels)
    place = (signal(data).rank(method="first") - 0.5) / len(data)
    chosen = np.searchsorted(np.cumsum(shares)[:-1], place, side="right")
    return data.assign(**{name: pd.Series([labels[at] for at in chosen], index=data.index)})


def usual(rows: int = ROWS, seed: int = 0) -> pd.DataFrame:
    """A frame with a yes or no to predict."""
    return with_classes(frame(rows, seed), "no", "yes", shares=(0.6, 0.4))


def with_number(data: pd.DataFrame, values: Any, name: str = "price") -> pd.DataFrame:
    """A target that is a number, `values` of the signal."""
    return data.assign(**{name: values(signal(data))})


# ---- writing


@dataclass(frozen=True)
class Spelling:
    """How values become text."""

    decimal: str = "."
    group: str = ""
    date: str = "%Y-%m-%d"
    truths: tuple[str, str] = ("True", "False")
    missing: str = ""

    def __call__(self, value: Any) -> str:
        """One value as text."""
        if pd.isna(value):
            return self.missing
        if isinstance(value, bool | np.bool_):
            return self.truths[not value]
        if isinstance(value, pd.Timestamp):
            return value.strftime(self.date)
        if isinstance(value, float | int | np.integer):
            text = format(value.item() if isinstance(value, np.generic) else value, "," if self.group else "")
            return text.translate({ord(","): self.group, ord("."): self.decimal})
        return str(value)

    def column(self, values: pd.Series) -> list[str]:
        """Values as text."""
        return list(map(self, values.tolist()))

    def of(self, data: pd.DataFrame) -> pd.DataFrame:
        """A table as text."""
        return pd.DataFrame({name: self.column(data[name]) for name in data}, dtype=object)


ISO = Spelling()
GERMAN = Spelling(decimal=",", group=".", date="%d.%m.%Y", truths=("1", "0"))


def as_csv(
    cells: pd.DataFrame,
    *,
    sep: str = ",",
    end: str = "\n",
    encoding: str = "utf-8",
    quoting: int = csv.QUOTE_MINIMAL,
    header: Sequence[str] = (),
    before: str = "",
    between: str = "",
    trailing: tuple[str, str] = ("", ""),
    last: bool = True,
) -> bytes:
    """A table of text as the bytes of a CSV file.

    `before` stands before the header, `between` after every seventh line, `trailing` behind the header and behind each
    row; without `last` there is no line end at the end.
    """
    lines = io.StringIO(newline="")
    quote = None if quoting == csv.QUOTE_NONE else '"'
    writer = csv.writer(lines, delimiter=sep, lineterminator=end, quoting=quoting, quotechar=quote)  # type: ignore[arg-type]
    text = before
    for number, row in enumerate([list(header or cells), *cells.to_numpy().tolist()]):
        writer.writerow(row)
        text += lines.getvalue().removesuffix(end) + trailing[number > 0] + end + (between if number % 7 == 6 else "")
        lines.seek(0)
        lines.truncate()
    return (text if last else text.removesuffix(end)).encode(encoding)


def laying(files: Mapping[str, bytes]) -> Write:
    """A function that writes these files; gzipped if their name says so."""

    def write(folder: Path) -> None:
        for name, content in files.items():
            (folder / name).write_bytes(gzip.compress(content, mtime=0) if name.endswith(".gz") else content)

    return write


def as_parquet(data: pd.DataFrame | pa.Table, *, index: bool | None = None) -> bytes:
    """A table as the bytes of a Parquet file."""
    out = io.BytesIO()
    if isinstance(data, pa.Table):
        pq.write_table(data, out)
    else:
        data.to_parquet(out, index=index)
    return out.getvalue()


def table(
    name: str,
    data: pd.DataFrame,
    *,
    content: Mapping[str, bytes] | None = None,
    file: str = "delivery.csv",
    shown: Mapping[str, Any] | None = None,
    spelling: Spelling = ISO,
    how: Mapping[str, Any] | None = None,
    columns: Mapping[str, Fields] | None = None,
    truth: pd.DataFrame | None = None,
    target: str = "churn",
    task: Task = "binary",
    **more: Any,
) -> Table:
    """A table whose prepared rows are those of `data`, without what is to be ignored and where the target is missing.

    It is written as CSV, `how` says how, unless `content` gives the bytes of its files; `shown` is the text of columns
    that are spelt in their own way.
    """
    expected: dict[str, Fields] = {column: fields for column, fields in USUAL.items() if column in data}
    if task != "regression":
        expected[target] = {"type": "category"}
    for column, fields in (columns or {}).items():
        expected[column] = {**expected.get(column, {}), **fields}
    expected[target] = {**expected.get(target, {}), "role": "target"}
    if truth is None:
        ignored = [column for column, fields in expected.items() if fields.get("role") == "ignore"]
        truth = data.drop(columns=ignored, errors="ignore").dropna(subset=[target])
    rows = len(truth)

    def write(folder: Path) -> None:
        laying(content or {file: as_csv(spelling.of(data).assign(**(shown or {})), **(how or {}))})(folder)

    return Table(name, write, target, task, rows, expected, truth=lambda: truth, **more)


def numbers(name: str, data: pd.DataFrame, **more: Any) -> Table:
    """A table whose target is the number `price`."""
    kind = {"price": {"type": "number"}} | dict(more.pop("columns", {}))
    return table(name, data, target="price", task="regression", columns=kind, **more)


def extended(name: str, more: Mapping[str, Any], data: pd.DataFrame | None = None, **expected: Any) -> Table:
    """The usual table with more columns."""
    data = usual() if data is None else data
    return table(name, pd.concat([data, pd.DataFrame(more, index=data.index)], axis=1), **expected)


# ---- files


def files() -> list[Table]:
    """Separators, encodings, quotes, numbers, line ends, and more than one file."""
    data = usual()
    amount: dict[str, Fields] = {"amount": {"decimal": ","}, "score": {"decimal": ","}}
    day: dict[str, Fields] = {"joined": {"format": "%d.%m.%Y"}}
    plain = Spelling(decimal=",", date="%d.%m.%Y")
    grouped = Spelling(group=",")
    quoted = data.assign(note=np.resize(['say "hi"', "two\nlines", "a, b; c", "plain"], len(data)))
    inches = data.assign(size=np.resize(['5" pipe', '7" pipe', "12' rope", 'a "quoted" word'], len(data)))
    euros = data.assign(region=np.resize(["Köln €", "Zürich €", "Straße – 1"], len(data)))
    dollars = data.assign(share=np.random.default_rng(1).integers(1, 99, len(data)))
    price = ["" if pd.isna(value) else f"${value:,.2f}" for value in data["amount"]]
    percents = [f"{value} %" for value in dollars["share"]]
    indexed: dict[str, Any] = {
        "columns": {"Unnamed: 0": {"type": "integer", **IGNORED}},
        "comments": {"Unnamed: 0": "a row number"},
    }
    sizes = {
        "Größe, cm": data["age"] + 100.5,
        "Gewicht, kg": data["age"][::-1].to_numpy() + 20.5,
        "churn": data["churn"],
    }
    metric = pd.DataFrame(sizes)
    numbered = data.assign(**{"Unnamed: 0": np.arange(len(data))})[["Unnamed: 0", *data]]
    named = [str(number) for number in range(1, len(data) + 1)]
    r_rows = data.assign(**{"Unnamed: 0": named})[["Unnamed: 0", *data]]
    words = dict.fromkeys(("Köln €", "Straße – 1", "Zürich €"))
    parts = {f"{month}.csv": as_csv(ISO.of(part)) for month, part in zip("ab", (data[:80], data[80:]), strict=True)}
    swapped = {**parts, "b.csv": as_csv(ISO.of(data[80:][list(data)[::-1]]))}
    spaced = as_csv(ISO.of(data)).replace(b",", b" , ").decode()
    found = {
        "comma": {},
        "semicolon": {"sep": ";"},
        "tab": {"sep": "\t"},
        "pipe": {"sep": "|"},
        "all-quoted": {"quoting": csv.QUOTE_ALL},
        "bom": {"encoding": "utf-8-sig"},
        "utf-16-le": {"before": "\ufeff", "encoding": "utf-16-le"},
        "utf-16-be": {"before": "\ufeff", "encoding": "utf-16-be", "sep": "\t"},
        "utf-16-without-bom": {"encoding": "utf-16-le", "sep": ";"},
        "utf-32": {"before": "\ufeff", "encoding": "utf-32-be"},
        "latin-1": {"encoding": "latin-1", "sep": ";"},
        "windows-lines": {"end": "\r\n"},
        "old-mac-lines": {"end": "\r"},
        "no-last-newline": {"last": False, "end": "\r\n"},
        "blank-lines": {"between": "\n\n"},
        "announced-separator": {"before": "sep=;\r\n", "end": "\r\n", "sep": ";"},
    }
    endings = {"tab": "data.tsv", "pipe": "DATA FILE (1).CSV"}
    return [
        *(
            table(name, data, how=how, file=endings.get(name, "delivery.csv"), least=0.7, delivered=name == "comma")
            for name, how in found.items()
        ),
        table("csv-gz", data, file="delivery.csv.gz", delivered=True),
        table("tsv-gz", data, file="delivery.tsv.gz", how={"sep": "\t"}),
        table(
            "windows-1252",
            euros,
            how={"encoding": "cp1252", "sep": ";"},
            columns={"region": {"allowed": list(words)}},
        ),
        table("german", data, spelling=GERMAN, how={"sep": ";", "encoding": "cp1252"}, columns=amount | day),
        table(
            "german-truths",
            data.assign(active=np.where(data["active"], "WAHR", "FALSCH")),
            spelling=GERMAN,
            how={"sep": ";"},
            columns=amount | day | {"active": {"type": "category", "allowed": ["FALSCH", "WAHR"]}},
        ),
        table("decimal-comma", data, spelling=plain, how={"sep": ";"}, columns=amount | day, delivered=True),
        table("decimal-comma-tab", data, spelling=plain, how={"sep": "\t"}, file="a.tsv", columns=amount | day),
        table("decimal-comma-quoted", data, spelling=plain, columns=amount | day),
        table("thousands-quoted", data, spelling=grouped, columns={"amount": {"decimal": "."}}),
        table("thousands-swiss", data, spelling=Spelling(group="'"), how={"sep": ";"}),
        table(
            "thousands-blank", data, spelling=Spelling(decimal=",", group="\u00a0"), how={"sep": ";"}, columns=amount
        ),
        table(
            "dollars-and-percents",
            dollars,
            shown={"amount": price, "share": percents},
            columns={"share": {"type": "integer"}},
        ),
        table(
            "euros-behind",
            data,
            spelling=GERMAN,
            shown={"amount": [f"{text} €" for text in GERMAN.column(data["amount"])]},
            how={"sep": ";", "encoding": "cp1252"},
            columns=amount | day,
        ),
        table("quotes", quoted, columns={"note": {"allowed": sorted(set(quoted["note"]))}}, delivered=True),
        table("quotes-windows", quoted, how={"end": "\r\n"}, columns={"note": {"type": "category"}}),
        table(
            "quotes-inside-unquoted",
            inches,
            how={"quoting": csv.QUOTE_NONE},
            columns={"size": {"allowed": sorted(set(inches["size"]))}},
        ),
        table("nameless-index", numbered, how={"header": ["", *data]}, **indexed),
        table("r-row-names", r_rows, how={"header": list(data), "quoting": csv.QUOTE_ALL}, **indexed),
        table(
            "separator-behind-every-line",
            data,
            how={"trailing": (",", ",")},
            columns={f"Unnamed: {len(data.columns)}": IGNORED},
        ),
        table(
            "commas-in-names-and-values",
            data.assign(**{"name, first": [f"Doe, {number}" for number in range(len(data))]}),
            columns={"name, first": TEXT},
        ),
        table(
            "decimal-commas-and-commas-in-names",
            metric,
            how={"sep": ";"},
            spelling=plain,
            columns={"Größe, cm": {**NUMBER, "decimal": ","}, "Gewicht, kg": {**NUMBER, "decimal": ","}},
        ),
        table("separator-behind-every-row", data, how={"sep": ";", "trailing": ("", ";")}),
        table("blanks-around-separators", data, content={"a.csv": spaced.encode()}),
        table("two-files", data, content=parts, delivered=True),
        table("two-files-in-other-order", data, content=swapped),
        table(
            "two-files-in-other-dialects",
            data,
            content={**parts, "b.csv": as_csv(ISO.of(data[80:]), sep="\t", encoding="utf-16")},
        ),
        table(
            "csv-and-parquet",
            data,
            content={"a.csv": parts["a.csv"], "b.parquet": as_parquet(data[80:])},
            delivered=True,
        ),
    ]


def parquet() -> list[Table]:
    """What Parquet files hold that CSV cannot."""
    data = usual()
    rows = len(data)
    rng = np.random.default_rng(2)
    gaps = rng.random(rows) < 0.1
    small = rng.integers(0, 200, rows)
    cents = [Decimal(int(value)) / 100 for value in rng.integers(100, 99999, rows)]
    moments = pd.Series(pd.Timestamp("2024-03-01 22:30") + pd.to_timedelta(rng.integers(0, 10**6, rows), "s"))
    nullable = data.assign(
        age=data["age"].astype("Int16").mask(gaps),
        active=data["active"].astype("boolean").mask(~gaps & (rng.random(rows) < 0.2)),
        amount=data["amount"].astype("Float64").mask(gaps),
        region=data["region"].astype("string").mask(gaps),
    )
    plain = pa.Table.from_pandas(data, preserve_index=False)
    arrow: dict[str, Any] = {
        "day": pa.array(moments.dt.date.tolist(), pa.date32()),
        "cents": pa.array(cents, pa.decimal128(12, 2)),
        "zone": pa.array(moments.dt.tz_localize("UTC").tolist(), pa.timestamp("ns", "Europe/Berlin")),
        "nested": pa.array([[int(value)] * 2 for value in small % 3], pa.list_(pa.int64())),
        "known": pa.array(np.where(gaps, None, small % 2 == 0).tolist(), pa.bool_()),
        "level": pa.array(np.where(small > 100, "high", "low")).dictionary_encode(),
        "small": pa.array(small, pa.uint8()),
        "single": pa.array((small / 7).astype("float32"), pa.float32()),
        "waited": pa.array(small * 10**9, pa.duration("ns")),
        "blob": pa.array([b"a", b"b"] * (rows // 2), pa.binary()),
        "nothing": pa.nulls(rows),
    }
    for name, column in arrow.items():
        plain = plain.append_column(name, column)
    everything = data.assign(
        day=moments.dt.normalize(),
        cents=[float(value) for value in cents],
        zone=moments,
        known=pd.array(np.where(gaps, None, small % 2 == 0), dtype="boolean"),
        level=np.where(small > 100, "high", "low"),
        small=small,
        single=(small / 7).astype("float32").astype("float64"),
    )
    kinds: dict[str, Fields] = {
        "day": {"type": "datetime"},
        "cents": {"type": "number"},
        "zone": {"type": "datetime"},
        "nested": {"type": "category"},
        "known": {"type": "boolean"},
        "level": {"type": "category", "allowed": ["high", "low"]},
        "small": {"type": "integer"},
        "single": {"type": "number"},
        "nothing": IGNORED,
    }
    objects = data.assign(
        age=data["age"].astype(object).mask(gaps, None),
        region=data["region"].astype(object).mask(gaps, None),
        active=data["active"].astype(object).mask(gaps, None),
        joined=[day.date() for day in data["joined"]],
        amount=cents,
    )
    of_objects = data.assign(
        age=data["age"].astype("Int64").mask(gaps),
        region=data["region"].mask(gaps),
        active=data["active"].astype("boolean").mask(gaps),
        amount=[float(value) for value in cents],
    )
    floats = data.assign(churn=(data["churn"] == "yes").astype("float64"))
    unnamed = data.assign(**{f"Unnamed: {len(data.columns)}": range(0, 2 * rows, 2)})
    return [
        table("parquet", data, content={"a.parquet": as_parquet(data)}, least=0.7, delivered=True),
        table("parquet-types", everything, content={"a.parquet": as_parquet(plain)}, columns=kinds, delivered=True),
        table("parquet-nullable", nullable, content={"a.parquet": as_parquet(nullable)}),
        table("parquet-objects", of_objects, content={"a.parquet": as_parquet(objects)}),
        table(
            "parquet-categories",
            data,
            content={"a.parquet": as_parquet(data.astype({"region": "category", "churn": "category"}))},
        ),
        table(
            "parquet-index",
            unnamed,
            content={"a.parquet": as_parquet(data.set_axis(range(0, 2 * rows, 2)), index=True)},
            columns={f"Unnamed: {len(data.columns)}": {"type": "integer"}},
        ),
        table("parquet-named-index", data, content={"a.parquet": as_parquet(data.set_index("customer"))}),
        table(
            "parquet-bool-target",
            data.assign(churn=np.where(data["churn"] == "yes", "True", "False")),
            content={"a.parquet": as_parquet(data.assign(churn=data["churn"] == "yes"))},
            classes=("False", "True"),
            positive="True",
        ),
        table(
            "parquet-float-target",
            floats.assign(churn=np.where(floats["churn"] == 1, "1", "0")),
            content={"a.parquet": as_parquet(floats)},
            classes=("0", "1"),
            positive="1",
        ),
    ]


# ---- names


def names() -> list[Table]:
    """Column names that trip YAML, pandas, scikit-learn, HTML, MLflow or a file system."""
    odd = (
        *(
            "first name",
            "net.amount",
            "size [m²]",
            "(a)",
            'the "best"',
            "it's",
            "été ☃",
            "🦊",
            "2nd",
            "class",
            "lambda",
        ),
        *("index", "count", "level_0", "column", "values", "x" * 300, "two\nlines", "a,b", "a;b", "#no", "yes", "null"),
        *(
            "1.5",
            "1",
            "-",
            "@",
            "%",
            "{{x}}",
            "{%y%}",
            "<b>bold</b>",
            "None",
            "True",
            "size",
            "T",
            "name",
            "rows",
            "feature",
        ),
        *(
            "prediction",
            "probability",
            "actual",
            "a/b",
            "..",
            "back\\slash",
            "tab\tbed",
            "columns",
            "key: value",
            "=1+1",
            "self",
            "func",
            "data",
            "__init__",
            "__class__",
            "kwargs",
        ),
        *("数量", "ﬁ", "e\u0301tage", "\u202eright", "é", "e\u0301"),
    )
    data = usual()
    rng = np.random.default_rng(3)
    kinds = {"number": lambda: np.round(rng.normal(size=200), 3), "category": lambda: rng.choice(["a", "b", "c"], 200)}
    kinds["integer"] = lambda: rng.integers(0, 99, 200)
    kinds["boolean"] = lambda: rng.random(200) < 0.5
    more, columns = {}, {}
    for name, kind in zip(odd, cycle(kinds), strict=False):
        more[name], columns[name] = kinds[kind](), {"type": kind}
    written = pd.concat([data, pd.DataFrame(more, index=data.index)], axis=1)  # not assign, which has a `self`
    # Names have one Unicode form and no invisible signs; of two that become the same, the second gets a number.
    seen = {"e\u0301tage": "étage", "\u202eright": "right", "e\u0301": "é.1"}
    named, columns = written.rename(columns=seen), {seen.get(name, name): kind for name, kind in columns.items()}
    extra = [np.round(rng.normal(size=200), 3) for _ in range(3)]
    doubled = data.assign(**{"age.1": rng.permutation(data["age"]), "padded": extra[0], "": extra[1]})
    read = doubled.rename(columns={"": "Unnamed: 10"})
    parts = data.assign(seen=rng.permutation(data["joined"]), **{"seen month": extra[0], "seen day": extra[1]})
    titled = with_classes(frame(), "no", "yes", name='Will they "churn"? (ja/nein) 🦊: x')
    return [
        table("odd-names", named, how={"header": list(written)}, columns=columns, delivered=True),
        table(
            "odd-names-parquet",
            named,
            content={"a.parquet": as_parquet(written)},
            columns=columns,
        ),
        table(
            "doubled-names",
            read,
            how={"header": [*data, "age", "  padded\t", ""]},
            columns={"age.1": {"type": "integer"}, "padded": {"type": "number"}, "Unnamed: 10": {"type": "number"}},
        ),
        table("names-of-calendar-parts", parts, columns={"seen": {"type": "datetime", "role": "feature"}}),
        table("odd-target-name", titled, target=str(titled.columns[-1])),
        table("target-called-yes", with_classes(frame(), "a", "b", name="yes"), target="yes"),
    ]


# ---- targets


def targets() -> list[Table]:
    """Everything there is to predict."""
    pairs: dict[str, tuple[str, str, str]] = {
        "zero-one": ("0", "1", "1"),
        "true-false": ("False", "True", "True"),
        "upper-true-false": ("FALSE", "TRUE", "TRUE"),
        "one-two": ("1", "2", "1"),
        "ja-nein": ("nein", "ja", ""),
        "strings": ("Kündigung (früh)", "bleibt; vorerst", "bleibt; vorerst"),
        "two-decimals": ("2.5", "7.25", "7.25"),
        "minus-one-one": ("-1", "1", "1"),
        "on-off": ("off", "on", "on"),
        "yes-no-german-numbers": ("0", "100", "100"),
    }
    data = frame()
    gone = with_classes(data, "no", "yes").assign(churn=lambda all_: all_["churn"].mask(all_.index % 9 == 4))
    padded = with_classes(data, "no", "yes")
    bits = with_classes(data, "0", "1", shares=(0.6, 0.4))
    rare = with_classes(data, "a", "b").assign(churn=lambda all_: ["single", "pair", "pair", *all_["churn"][3:]])
    thirty = with_classes(frame(900), *(f"class {number:02}" for number in range(30)))
    tiny = with_classes(frame(60), *"abcdefghijklmnopqrst")
    stars = with_classes(frame(300), 1, 2, 3, 4, 5)
    money: dict[str, tuple[Any, Fields]] = {
        "skewed": (lambda x: np.round(np.exp(x), 3), {"type": "number"}),
        "zeros": (lambda x: np.round(np.maximum(x, 0), 3), {"type": "number"}),
        "negative": (lambda x: -np.round(np.exp(x), 3), {"type": "number"}),
        "integers": (lambda x: (100 + 40 * x).round().astype(int), {"type": "integer"}),
        "huge": (lambda x: np.round(1e12 * (5 + x), 2), {"type": "number"}),
        "huge-integers": (lambda x: (1e12 * (5 + x)).astype(int), {"type": "integer"}),
        "minute": (lambda x: np.round(1e-6 * (5 + x), 10), {"type": "number"}),
        "one-decimal": (lambda x: np.round(x, 1), {"type": "number"}),
        "integers-with-missing": (
            lambda x: (500 + 90 * x).round().astype("Int64").mask(x.index % 7 == 0),
            {"type": "integer"},
        ),
    }
    german = with_number(data, lambda x: np.round(3000 + 700 * x, 2))
    return [
        *(
            table(
                f"target-{name}",
                with_classes(data, *pair, shares=(0.6, 0.4)),
                classes=tuple(sorted(pair)),
                positive=positive or None,
                least=0.65,
            )
            for name, (*pair, positive) in pairs.items()
        ),
        table(
            "target-missing", gone, classes=("no", "yes"), positive="yes", unlabelled=int(gone["churn"].isna().sum())
        ),
        table(
            "target-decimal-zero-one",
            bits,
            shown={"churn": bits["churn"] + ".0"},
            classes=("0", "1"),
            positive="1",
            least=0.65,
        ),
        table(
            "target-with-blanks",
            padded,
            shown={"churn": " " + padded["churn"] + "  "},
            classes=("no", "yes"),
            positive="yes",
        ),
        table(
            "target-two-percent",
            with_classes(frame(600), "no", "yes", shares=(0.98, 0.02)),
            classes=("no", "yes"),
            positive="yes",
            delivered=True,
        ),
        table(
            "three-classes",
            with_classes(frame(300), "low", "mid", "high"),
            task="multiclass",
            least=0.5,
            delivered=True,
        ),
        table(
            "ten-classes",
            with_classes(frame(500), *range(10)),
            task="multiclass",
            truth=with_classes(frame(500), *map(str, range(10))),
        ),
        table("thirty-classes", thirty, task="multiclass"),
        table("rare-classes", rare, task="multiclass", rare=("single", "pair"), classes=("a", "b", "pair", "single")),
        table("every-class-rare", tiny, task="multiclass", rare=tuple("abcdefghijklmnopqrst")),
        table(
            "integers-as-classes",
            stars,
            task="multiclass",
            truth=stars.astype({"churn": str}),
            classes=tuple("12345"),
            comments={"churn": "classes"},
        ),
        *(
            numbers(
                f"price-{name}",
                with_number(data, values),
                columns={"price": fields},
                delivered=name == "skewed",
                least=0.4,
                unlabelled=29 if name == "integers-with-missing" else 0,
            )
            for name, (values, fields) in money.items()
        ),
        numbers(
            "price-german",
            german,
            spelling=GERMAN,
            how={"sep": ";"},
            columns={"price": {"type": "number", "decimal": ","}},
            least=0.4,
            delivered=True,
        ),
        numbers(
            "price-with-currency",
            german,
            shown={"price": [f"${price:,.2f}" for price in german["price"]]},
        ),
    ]


# ---- columns


def numeric() -> list[Table]:
    """Numbers and integers: gaps, words between them, signs, sizes."""
    rng = np.random.default_rng(4)
    gaps = rng.random(ROWS) < 0.15
    few = np.arange(ROWS) % 25 == 3
    rates = pd.Series(np.round(rng.normal(50, 9, ROWS), 2))
    centred = pd.Series(np.round(rng.normal(0, 9, ROWS), 2))
    visits = pd.Series(rng.integers(0, 40, ROWS))
    vast = 2**53 + 1 + 2 * rng.integers(0, 10**9, ROWS)
    steps = rng.integers(0, 30, ROWS)
    beyond = [10**20 + 10**17 * int(step) for step in steps]
    unsigned = np.array([2**64 - 2**50 * (1 + int(step)) for step in steps], "uint64")
    endless = pd.DataFrame({"rate": rates.mask(few, np.inf)})
    holes = centred.mask(np.arange(ROWS) % 4 == 0)
    gone = np.resize(np.repeat(MISSING, 4), ROWS)
    sizes = {
        "vast": rates * 1e290,
        "above": rates * 1e40,
        "minute": rates * 1e-290,
        "spread": 10.0 ** rng.integers(-300, 300, ROWS),
    }
    years = {"year": rng.integers(1990, 2024, ROWS), "stock": rng.integers(0, 9, ROWS)}
    wide = {f"v{number:03}": np.round(rng.normal(size=ROWS), 3) for number in range(300)}
    return [
        extended(
            "gaps",
            {"visits": visits.astype("Int64").mask(gaps), "rate": rates.mask(gaps)},
            columns={"visits": INTEGER, "rate": NUMBER},
            delivered=True,
        ),
        extended(
            "integers-written-as-floats",
            {"visits": visits.astype("Int64").mask(gaps)},
            shown={"visits": ISO.column(visits.astype("float64").mask(gaps))},
            columns={"visits": INTEGER},
        ),
        extended(
            "rare-words",
            {"rate": rates.mask(few)},
            shown={"rate": rates.astype(str).mask(few, "unknown")},
            columns={"rate": NUMBER},
            comments={"rate": "unknown"},
            delivered=True,
        ),
        extended(
            "missing-spellings",
            {"rate": holes},
            shown={"rate": centred.astype(str).where(holes.notna(), gone)},
            columns={"rate": NUMBER},
        ),
        extended(
            "mostly-missing",
            {"rate": rates.mask(np.arange(ROWS) % 33 != 0)},
            columns={"rate": {**NUMBER, "max_missing": 1.0}},
            comments={"rate": "missing"},
        ),
        extended(
            "infinities",
            {"rate": rates.mask(few)},
            shown={"rate": rates.astype(str).mask(few, np.resize(["inf", "-inf", "Infinity"], ROWS))},
            columns={"rate": NUMBER},
            unparseable=("rate",),
        ),
        extended(
            "infinities-parquet",
            {"rate": rates.mask(few)},
            content={"a.parquet": as_parquet(usual().join(endless))},
            columns={"rate": NUMBER},
            unparseable=("rate",),
        ),
        extended("extremes", sizes, columns=dict.fromkeys(sizes, NUMBER), delivered=True),
        extended(
            "integers-beyond-floats",
            {"ledger": vast, "limits": np.where(gaps, 2**63 - 1, -(2**63))},
            columns={"ledger": INTEGER, "limits": INTEGER},
        ),
        extended(
            "integers-beyond-floats-gaps",
            {"ledger": pd.Series(vast).astype("Int64").mask(gaps)},
            columns={"ledger": INTEGER},
        ),
        extended(
            "integers-beyond-64-bits",
            {"total": list(map(str, beyond))},
            columns={"total": {"type": "category"}},
        ),
        extended(
            "integers-beyond-64-bits-parquet",
            {"total": unsigned.astype("str")},
            content={"a.parquet": as_parquet(usual().assign(total=unsigned))},
            columns={"total": {"type": "category"}},
        ),
        extended(
            "minus-signs",
            {"balance": centred},
            shown={"balance": centred.astype(str).str.replace("-", "\u2212")},
            columns={"balance": NUMBER},
        ),
        extended("years-and-stock", years, columns=dict.fromkeys(years, INTEGER)),
        extended("three-hundred-columns", wide, columns=dict.fromkeys(wide, NUMBER)),
    ]


def booleans() -> list[Table]:
    """Every pair of words that stands for true and false."""
    rng = np.random.default_rng(5)
    pairs = [("true", "false"), ("t", "f"), ("yes", "no"), ("y", "n"), ("on", "off"), ("1", "0"), ("1.0", "0.0")]
    pairs = list(
        dict.fromkeys((change(yes), change(no)) for change in (str, str.upper, str.title) for yes, no in pairs)
    )
    truths = {f"is {yes}, not {no}": pd.Series(rng.random(ROWS) < 0.5) for yes, no in pairs}
    shown = {name: np.where(truth, *pair) for (name, truth), pair in zip(truths.items(), pairs, strict=True)}
    kept = {"known": pd.Series(rng.random(ROWS) < 0.5).astype("boolean").mask(rng.random(ROWS) < 0.2)}
    return [
        extended("booleans", truths, shown=shown, columns=dict.fromkeys(truths, BOOLEAN), delivered=True),
        extended("booleans-with-gaps", kept, columns=dict.fromkeys(kept, BOOLEAN)),
    ]


def dates() -> list[Table]:
    """Days and times in every usual order."""
    rng = np.random.default_rng(6)
    moment = pd.Series(pd.Timestamp("2020-01-01") + pd.to_timedelta(rng.integers(0, 10**8, ROWS), "s"))
    formats = {
        "day": ("%Y-%m-%d", "%d.%m.%Y", "%m/%d/%Y", "%d/%m/%Y", "%d-%m-%Y", "%Y/%m/%d", "%d %b %Y", "%b %d, %Y"),
        "min": ("%Y-%m-%d %H:%M", "%d.%m.%Y %H:%M", "%d/%m/%Y %H:%M", "%m/%d/%Y %I:%M %p"),
        "s": ("%Y-%m-%d %H:%M:%S", "%Y-%m-%dT%H:%M:%S", "%d.%m.%Y %H:%M:%S", "%m/%d/%Y %I:%M:%S %p"),
    }
    unit = {"day": "D", "min": "min", "s": "s"}
    zones = {"Z": 0.0, "+02:00": 2.0, "-0530": -5.5}
    zoned = {f"at {zone}": pd.Series(rng.permutation(moment)) for zone in zones}
    local = {
        name: (zoned[name] + pd.Timedelta(hours=hours)).dt.strftime("%Y-%m-%dT%H:%M:%S") + zone
        for name, (zone, hours) in zip(zoned, zones.items(), strict=True)
    }
    clock = {"opens": moment.dt.strftime("%H:%M"), "closes": moment.iloc[::-1].dt.strftime("%H:%M:%S").to_numpy()}
    early = {"year": 2024, "month": rng.integers(1, 13, ROWS), "day": rng.integers(1, 13, ROWS)}
    unclear = {"seen": pd.to_datetime(pd.DataFrame(early))}
    day = moment.dt.floor("D")
    gaps = rng.random(ROWS) < 0.15
    keys = usual()[["customer", "churn", "age"]]
    plain = usual().drop(columns=["amount", "score"])

    def unclearly(name: str, form: str, **more: Any) -> Table:
        shown = {"seen": unclear["seen"].dt.strftime(form)}
        return extended(f"unclear-dates-{name}", unclear, shown=shown, columns={"seen": DATETIME}, **more)

    month_first = "(%d/%m/%Y); %m/%d/%Y would fit, too"
    found = []
    for kind, spellings in formats.items():
        columns = {
            f"on {form.replace(',', '')}": pd.Series(rng.permutation(moment.dt.floor(unit[kind]))) for form in spellings
        }
        shown = {name: columns[name].dt.strftime(form) for name, form in zip(columns, spellings, strict=True)}
        known = {"on %d.%m.%Y": {"format": "%d.%m.%Y"}, "on %Y-%m-%d": {"format": None}} if kind == "day" else {}
        expected = {name: {**DATETIME, **known.get(name, {})} for name in columns}
        found.append(extended(f"dates-{kind}", columns, shown=shown, columns=expected, delivered=True))
    return [
        *found,
        extended("time-zones", zoned, shown=local, columns=dict.fromkeys(zoned, DATETIME)),
        extended("times-of-day", clock, columns=dict.fromkeys(clock, DATETIME), truth=usual(), delivered=True),
        unclearly("slash", "%m/%d/%Y", comments={"seen": "(%m/%d/%Y); %d/%m/%Y would fit, too"}),
        unclearly("slash-semicolon", "%d/%m/%Y", how={"sep": ";"}, comments={"seen": month_first}, data=plain),
        unclearly("slash-decimal-comma", "%d/%m/%Y", spelling=Spelling(decimal=","), comments={"seen": month_first}),
        unclearly("dot", "%d.%m.%Y"),
        unclearly("dash", "%d-%m-%Y"),
        extended(
            "birth-date-first",
            {"birth_date": day, "joined": usual()["joined"]},
            data=keys,
            columns={"birth_date": DATETIME, "joined": {"role": "time"}},
            delivered=True,
        ),
        extended("date-with-gaps", {"seen": day.mask(gaps)}, data=keys, columns={"seen": DATETIME}, delivered=True),
    ]


def categories() -> list[Table]:
    """Words: many levels, codes, keys, prose, and spellings that other formats read in their own way."""
    rng = np.random.default_rng(7)
    # More than is looked at first, and what is unusual in it comes last.
    late = np.arange(4000) > 3900
    many = usual(4000, 7).assign(
        sku=[f"sku {number}" for number in rng.permutation(np.resize(np.arange(2000), 4000))],
        note=[" ".join(rng.choice(PROSE, 7)).replace("late and", "late\nand" if odd else "late") for odd in late],
        region=lambda all_: all_["region"].where(late, "Nord"),
    )
    prose = [" ".join(rng.choice(PROSE, 7)) for _ in range(ROWS)]
    tokens = [str(uuid.UUID(bytes=rng.bytes(16))) for _ in range(ROWS)]
    keyless = usual().drop(columns="customer")
    zips = np.resize(["01067", *(f"{number:05}" for number in rng.integers(1000, 99999, 24))], ROWS)
    codes = {"zip": zips, "postal_code": rng.permutation(np.resize([str(10_000 + 37 * at) for at in range(30)], ROWS))}
    holes = pd.Series(rng.choice(["None", "b", "c"], ROWS)).mask(np.arange(ROWS) % 4 == 0)
    unicode = ("中文", "日本", "🦊", "👩\u200d🚀", "e\u0301", "é", "Ελλ", "ﬁ", "İ", "עברית", "a\u00a0b", "\u200bzero")
    yaml = (
        "no",
        "on",
        "~",
        "Null",
        "1e3",
        "0x10",
        "[a]",
        "{b}",
        "# c",
        "- d",
        "yes",
        "'",
        '"',
        "a: b",
        "=1+1",
        "@x",
        "&y",
    )
    lists = {
        "unicode-levels": unicode,
        "levels-like-yaml": yaml,
        "levels-like-formulas": ("=SUM(A1:A9)", "=1+1", "+49 30", "@x", "-x"),
        "levels-like-numbers": ("1.2.3", "1.10.0", "0x1f", "1_000", "1/2", "12-"),
        "levels-like-html": ("<b>", "a & b", "</script>", "{{ x }}", "{% x %}", "\\n"),
    }
    phones = [f"+49 30 {number}" for number in rng.integers(10**6, 10**7, ROWS)]
    addresses = [".".join(map(str, rng.integers(0, 255, 4))) for _ in range(ROWS)]
    return [
        *(
            extended(
                name,
                {"word": np.resize(levels, ROWS)},
                columns={"word": {**CATEGORY, "allowed": sorted(levels)}},
                delivered=True,
            )
            for name, levels in lists.items()
        ),
        table(
            "two-thousand-levels",
            many,
            how={"encoding": "cp1252"},
            columns={"sku": CATEGORY, "note": TEXT},
            delivered=True,
        ),
        extended(
            "missing-spellings-of-levels",
            {"word": holes},
            shown={"word": holes.fillna(pd.Series(np.resize(np.repeat(MISSING, 4), ROWS)))},
            columns={"word": {**CATEGORY, "allowed": ["None", "b", "c"]}},
        ),
        extended(
            "prose",
            {"note": prose, "template": np.resize(prose[:120], ROWS)},
            columns={"note": TEXT, "template": TEXT},
            comments={"note": "different values", "template": "free text"},
        ),
        extended(
            "more-keys",
            {"token": tokens, "row": np.arange(1, ROWS + 1), "hash": [rng.bytes(8).hex() for _ in range(ROWS)]},
            columns=dict.fromkeys(("token", "row", "hash"), IGNORED),
            comments=dict.fromkeys(("token", "row", "hash"), "customer"),
        ),
        table("consecutive-key", keyless.assign(row=range(1, ROWS + 1)), columns={"row": {"role": "id"}}),
        table("unique-key", keyless.assign(token=tokens), columns={"token": {"type": "category", "role": "id"}}),
        extended(
            "codes",
            {**codes, "shop_id": 10_000 + 7 * rng.permutation(ROWS).clip(0, 150)},
            columns={**dict.fromkeys(codes, CATEGORY), "shop_id": IGNORED},
        ),
        extended("phones", {"phone": phones, "ip": addresses}, columns={"phone": IGNORED, "ip": IGNORED}),
        table("blanks", usual(), shown=dict(ISO.of(usual()).map(lambda text: f"  {text} "))),
    ]


def useless() -> list[Table]:
    """Columns to be left out, since they say nothing, or what is to be predicted."""
    rng = np.random.default_rng(8)
    data = usual()
    churned = (data["churn"] == "yes").to_numpy()
    noisy = np.where(rng.random(ROWS) < 0.1, ~churned, churned)
    price = with_number(frame(), lambda x: np.round(3000 + 700 * x, 2))
    units = {
        "dollars": (price["price"] * 1.08).round(2),
        "log": np.log(price["price"]).round(5),
        "cents": (price["price"] * 100).round().astype(int),
        "rest": (10_000 - price["price"]).round(1),
    }
    copies = {
        "flag": churned.astype(int),
        "label": np.where(churned, "gone", "here"),
        "level": np.where(churned, 12.5, 3.25),
    }
    telling = {
        "reason": np.where(churned, rng.choice(["price", "moved", "service"], ROWS), None),
        "status": np.where(churned, rng.choice(["closed", "closing"], ROWS), rng.choice(["open", "trial"], ROWS)),
        "risk": np.round(np.where(churned, 0.95, 0.05) + rng.uniform(-0.04, 0.04, ROWS), 4),
        "left on": data["joined"].where(churned) + pd.Timedelta(days=900),
    }
    constant = {"country": "DE", "year": 2024, "nothing": None, "answer": "yes", "blank": " "}
    seldom = {"vip": np.where(noisy, "VIP", None), "bonus": np.where(noisy, "100", None)}
    always = dict.fromkeys(("country", "year", "answer", "vip"), "always") | dict.fromkeys(
        ("nothing", "blank"), "no values"
    )

    def left_out(name: str, more: Mapping[str, Any], words: Mapping[str, str], **expected: Any) -> Table:
        comments = {column: words[column] for column in more if column in words}
        return extended(name, more, columns=dict.fromkeys(more, IGNORED), comments=comments, **expected)

    return [
        left_out("constants", constant, always),
        left_out("one-value-or-none", seldom, always),
        left_out("copies", {"years": data["age"], "area": data["region"]}, {"years": "age", "area": "region"}),
        left_out("target-copies", copies, dict.fromkeys(copies, "gives the target away")),
        left_out("given-away", telling, dict.fromkeys(telling, "gives the target away")),
        left_out(
            "other-units",
            units,
            dict.fromkeys(units, "gives the target away"),
            data=price,
            target="price",
            task="regression",
        ),
        extended("nearly-given-away", {"hint": noisy}, columns={"hint": BOOLEAN}, least=0.75),
    ]


def small() -> list[Table]:
    """Few rows or few columns."""
    data = usual()
    gappy = data[["region", "churn"]].assign(region=data["region"].mask(data.index % 5 == 0))
    visited = data[["joined", "churn"]].assign(visited=usual(seed=3)["joined"])
    return [
        table("sixty-rows", usual(60, 5), delivered=True),
        table("one-number", data[["amount", "churn"]]),
        table("one-category", data[["region", "churn"]], delivered=True),
        table("one-boolean", data[["churn", "active"]]),
        table("one-category-with-gaps", gappy, columns={"region": CATEGORY}),
        table("dates-only", visited, columns={"visited": DATETIME}, delivered=True),
    ]


# ---- what ships with scikit-learn


def shipped() -> list[Table]:
    """Every data set that scikit-learn holds, as CSV."""

    def from_sklearn(name: str, target: str, rows: int, task: Task, least: float | None) -> Table:
        def data() -> pd.DataFrame:
            from sklearn import datasets

            bunch = getattr(datasets, f"load_{name}")(as_frame=True)
            return bunch.data.join(bunch.target[[target]] if name == "linnerud" else bunch.target)

        def write(folder: Path) -> None:
            data().to_csv(folder / f"{name}.csv", index=False)

        kind = {"type": "integer" if task == "regression" else "category"}  # all its numbers are whole
        found = {target: {"role": "target", **kind}}
        return Table(f"sklearn-{name}-{target}", write, target, task, rows, found, least=least)

    return [
        from_sklearn("iris", "target", 150, "multiclass", 0.85),
        from_sklearn("wine", "target", 178, "multiclass", 0.85),
        from_sklearn("breast_cancer", "target", 569, "binary", 0.88),
        from_sklearn("digits", "target", 1797, "multiclass", 0.85),
        from_sklearn("diabetes", "target", 442, "regression", 0.15),
        *(from_sklearn("linnerud", target, 20, "regression", None) for target in ("Weight", "Waist", "Pulse")),
    ]


# ---- what cannot be learnt from


def refused() -> list[Table]:
    """Deliveries that no project can use, each with the sentence that says so."""
    data = usual()
    whole = as_csv(ISO.of(data))
    lines = whole.decode().splitlines()
    ragged = "\n".join([*lines[:16], lines[16] + ",one,more", *lines[17:]]).encode()
    short = "\n".join([*lines[:16], "K-1,2", *lines[17:]]).encode()
    endless = [lines[0], *(lines[1:] * 40)]
    endless[6999] += ",one,more"
    noise = np.random.default_rng(6).bytes(5000)
    text = [f"a thought, number {number}" for number in range(len(data))]
    other = as_csv(ISO.of(data.rename(columns={"region": "area"})))
    useless = data[["customer", "churn"]].assign(country="DE", nothing="")

    def bad(name: str, content: Mapping[str, bytes], sentence: str, **more: Any) -> Table:
        return Table(name, laying(content), refused=sentence, **more)

    def of(name: str, frame: pd.DataFrame, sentence: str, **more: Any) -> Table:
        return bad(name, {"a.csv": as_csv(ISO.of(frame))}, sentence, **more)

    return [
        bad("empty-file", {"a.csv": b""}, r"a\.csv is empty"),
        bad("blank-file", {"a.csv": b"\n\n  \n"}, r"a\.csv is empty"),
        bad("header-only", {"a.csv": whole.splitlines()[0] + b"\n"}, r"a\.csv has a header but no row"),
        bad("long-row", {"a.csv": ragged}, r"a\.csv:17 has 10 fields where the header has 8"),
        bad(
            "late-long-row", {"a.csv": "\n".join(endless).encode()}, r"a\.csv:7000 has 10 fields where the header has 8"
        ),
        bad("short-row", {"a.csv": short}, r"a\.csv:17 has 2 fields where the header has 8"),
        bad("not-a-column", {"a.csv": whole}, "the target loss is no column.*customer", target="loss"),
        bad("misspelt-target", {"a.csv": whole}, "chrun.*churn", target="chrun"),
        bad("target-of-other-case", {"a.csv": whole}, "Churn.*churn", target="Churn"),
        of("one-class", data.assign(churn="yes"), "churn.*(two different|yes in every row|always)"),
        of("target-without-values", data.assign(churn=""), "churn.*(missing|no value|two different)"),
        of("target-is-a-date", data, "joined.*(date|time)", target="joined"),
        of("target-is-text", data.assign(churn=text), "churn.*(different|text)"),
        of("target-is-a-key", data, "customer.*(different|text)", target="customer"),
        bad("garbage", {"a.csv": noise}, r"a\.csv is no text"),
        bad("picture", {"a.csv": b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + noise}, r"a\.csv is no text"),
        Table("broken-gzip", lambda folder: _cut(folder, "a.csv.gz", gzip.compress(whole)), refused=r"a\.csv\.gz"),
        Table("no-gzip", lambda folder: _cut(folder, "a.csv.gz", whole), refused=r"a\.csv\.gz"),
        Table(
            "broken-parquet", lambda folder: _cut(folder, "a.parquet", as_parquet(data)), refused=r"a\.parquet.*Parquet"
        ),
        bad("no-parquet", {"a.parquet": whole}, r"a\.parquet.*Parquet"),
        bad("empty-parquet", {"a.parquet": b""}, r"a\.parquet"),
        bad("parquet-without-rows", {"a.parquet": as_parquet(data[:0])}, r"a\.parquet.*no row"),
        bad("no-files", {}, "has no data"),
        bad("wrong-ending", {"a.xlsx": noise}, r"a\.xlsx is none of"),
        bad("zipped", {"a.zip": noise}, r"a\.zip is none of"),
        of("too-few-rows", data[:3].assign(churn=["no", "no", "yes"]), "rows|nothing to learn", by="train"),
        of("single-row", data[:1], "churn"),
        of("nothing-to-learn-from", useless, "nothing to learn from|no column|feature"),
        of("only-a-target", data[["churn"]], "nothing to learn from|no column|feature"),
        bad("other-columns", {"a.csv": whole, "b.csv": other}, r"b\.csv and .*a\.csv.*(area.*region|region.*area)"),
    ]


def _cut(folder: Path, name: str, content: bytes) -> None:
    """Write all but the last hundred bytes of a file, as a broken download does."""
    (folder / name).write_bytes(content[:-100])


GROUPS = (files, parquet, names, targets, numeric, booleans, dates, categories, useless, small, shipped)
LEARNT = [table for group in GROUPS for table in group()]
REFUSED = refused()
