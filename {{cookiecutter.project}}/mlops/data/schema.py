"""What a valid row is: the types behind `schema.yaml`."""

from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from mlops.base.names import visible

ColumnType = Literal["number", "integer", "category", "boolean", "datetime", "text"]
Role = Literal["feature", "target", "id", "time", "group", "source", "ignore"]
Severity = Literal["error", "warning"]
Decimal = Literal[".", ","]

NUMERIC: frozenset[ColumnType] = frozenset({"number", "integer"})
# "None" is not among them: it is a level of many a category.
MISSING = (
    *("", "NA", "N/A", "n/a", "n.a.", "NaN", "nan", "NaT", "<NA>", "null", "NULL", "\\N", "?", "-", "--"),
    *("#N/A", "#DIV/0!", "#VALUE!", "#REF!"),
)


class Column(BaseModel):
    """What one column may hold.

    A column that is `derived` is in no delivery: `project/features.py` computes it. A column of the role `source` is
    delivered for `project/features.py` to compute from, and is not kept.

    `max_missing` is a share of the rows (0 to 1); `min` and `max` are inclusive and in the column's own unit;
    `decimal` and `format` say how text spells a number (the decimal sign) or a datetime (as in `strptime`; ISO 8601 if
    None). `unparseable` says what becomes of a value that is not of the column's type: it is set `missing`, or its row
    is `reject`ed. `severity` is that of a broken range, allowed value or missing share.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    type: ColumnType
    role: Role = "feature"
    sensitive: bool = False
    max_missing: float = Field(default=1.0, ge=0, le=1)
    min: float | None = None
    max: float | None = None
    allowed: tuple[str, ...] | None = None
    decimal: Decimal = "."
    format: str | None = None
    unparseable: Literal["missing", "reject"] = "missing"
    severity: Severity = "error"
    derived: bool = False

    @model_validator(mode="after")
    def _limits_fit_the_type(self) -> Self:
        if (self.min is not None or self.max is not None) and self.type not in NUMERIC:
            raise ValueError(f"min and max are for numbers and integers; this column is of type {self.type}")
        if self.min is not None and self.max is not None and self.min > self.max:
            raise ValueError(f"min {self.min:g} is above max {self.max:g}")
        if self.allowed is not None and self.type != "category":
            raise ValueError(f"allowed is for categories; this column is of type {self.type}")
        if self.decimal != "." and self.type not in NUMERIC:
            raise ValueError(f"decimal is for numbers and integers; this column is of type {self.type}")
        if self.format is not None and self.type != "datetime":
            raise ValueError(f"format is for datetimes; this column is of type {self.type}")
        if self.derived and self.role in ("target", "id", "time", "source"):
            raise ValueError(f"a derived column cannot be the {self.role}: deliver that column")
        if self.type == "text" and self.role in ("feature", "target"):
            raise ValueError(f"free text is no {self.role}: give the column the type category, or the role ignore")
        return self


class Schema(BaseModel):
    """All columns of the data, in the order in which they are kept, and the spellings of a missing value."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    columns: dict[Annotated[str, AfterValidator(visible)], Column]
    missing: tuple[str, ...] = MISSING

    @model_validator(mode="after")
    def _one_target_and_something_to_learn_from(self) -> Self:
        for role in ("target", "time", "group"):
            named = self.with_role(role)
            if len(named) > 1:
                raise ValueError(f"one column at most has the role {role}, but {', '.join(named)} have it")
        if not self.with_role("target"):
            raise ValueError("no column has the role target: name the one to predict")
        if not self.features:
            raise ValueError("no column has the role feature: there is nothing to learn from")
        return self

    def with_role(self, role: Role) -> list[str]:
        """Names of the columns that have `role`, in schema order."""
        return [name for name, column in self.columns.items() if column.role == role]

    @property
    def delivered(self) -> list[str]:
        """The columns that a labelled delivery has to have: all that are neither ignored nor derived."""
        return [name for name, column in self.columns.items() if column.role != "ignore" and not column.derived]

    @property
    def from_outside(self) -> list[str]:
        """All columns that are not derived, in the order in which they were drafted: that of the first delivery."""
        return [name for name, column in self.columns.items() if not column.derived]

    @property
    def needed(self) -> list[str]:
        """The delivered columns that a prediction needs, and the only ones that `project/features.py` computes from."""
        return [name for name in self.delivered if name in self.inputs or self.columns[name].role == "source"]

    @property
    def derived(self) -> list[str]:
        """The columns that `project/features.py` adds."""
        return [name for name, column in self.columns.items() if column.derived and column.role != "ignore"]

    @property
    def kept(self) -> list[str]:
        """The columns that prepared data has: all that are neither ignored nor only a source."""
        return [name for name, column in self.columns.items() if column.role not in ("ignore", "source")]

    @property
    def features(self) -> list[str]:
        """The columns that a model learns from, and whose drift is watched."""
        return self.with_role("feature")

    @property
    def inputs(self) -> list[str]:
        """The columns that a model takes: the features, and the date that orders the rows, as month, weekday, hour."""
        dates = [name for name in self.with_role("time") if self.columns[name].type == "datetime"]
        return [name for name in self.columns if name in {*self.features, *dates}]

    @property
    def target(self) -> str:
        """The column to predict."""
        return self.with_role("target")[0]

    @property
    def sensitive(self) -> list[str]:
        """The columns along which results are compared between groups."""
        return [name for name, column in self.columns.items() if column.sensitive]
