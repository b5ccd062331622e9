"""What a valid row is: the types behind `schema.yaml`."""

import re
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, FiniteFloat, field_validator, model_validator

from mlops.base.errors import SchemaError, nearest
from mlops.base.names import visible
from mlops.base.params import Features

ColumnType = Literal["number", "integer", "category", "boolean", "datetime", "text"]
Role = Literal["feature", "target", "id", "time", "group", "source", "ignore"]
Severity = Literal["error", "warning"]
Decimal = Literal[".", ","]
# A kind of change between a value as it was written and as it is read: see `mlops.data.round_trip`.
Loss = Literal[
    "words", "unparseable", "merged", "zeros", "digits", "signs", "groups", "units", "scales", "zones", "midnight"
]

NUMERIC: frozenset[ColumnType] = frozenset({"number", "integer"})
# "None" is not among them: it is a level of many a category.
MISSING = (
    *("", "NA", "N/A", "n/a", "n.a.", "NaN", "nan", "NaT", "<NA>", "null", "NULL", "\\N", "?", "-", "--"),
    *("#N/A", "#DIV/0!", "#VALUE!", "#REF!"),
)
# A whole number as a level that became a float, since a neighbour is missing.
POINT_ZERO = re.compile(r"^([+-]?\d+)\.0$")


class Column(BaseModel):
    """What one column may hold, how its text is spelt, and what becomes of a value that breaks that."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    type: ColumnType
    """What the values are. `text` is free text, which no model takes."""
    role: Role = "feature"
    """What the column is for: an input of the model, the value to predict, the key of a row, the date that
    orders the rows, what keeps rows of one kind in the same split, delivered to compute from only, or left out."""
    sensitive: bool = False
    """Whether results are compared between the groups of this column."""
    max_missing: float = Field(default=1.0, ge=0, le=1)
    """Largest share of the rows that may lack a value."""
    min: FiniteFloat | None = None
    """Smallest value, included, in the column's own unit; for numbers and integers."""
    max: FiniteFloat | None = None
    """Largest value, included, in the column's own unit; for numbers and integers."""
    allowed: tuple[str, ...] | None = None
    """The levels that a category may have."""
    decimal: Decimal = "."
    """Decimal sign of a number."""
    unit: str | None = Field(default=None, min_length=1)
    """Word or sign before or behind a number, such as `kg`; with `share`, 37% is 0.37."""
    format: str | None = None
    """Spelling of a datetime, as in `strptime`; ISO 8601 if empty."""
    first_year: int | None = Field(default=None, ge=1, le=9900)
    """First of the hundred years that two digits stand for; 1969 (POSIX) if empty."""
    missing: tuple[str, ...] | None = None
    """What means missing in this column, in place of the schema's own list."""
    losses: tuple[Loss, ...] = ()
    """Kinds of loss that reading is known to have; `validate` warns of others."""
    unparseable: Literal["missing", "reject"] = "missing"
    """What becomes of a value that is not of the type: it is missing, or its row is rejected."""
    severity: Severity = "error"
    """Whether a broken range, allowed value or missing share stops the pipeline, or warns."""
    derived: bool = False
    """Whether the column is in no delivery: it is made of events, or by `project/features.py`."""

    def __setstate__(self, state: dict[Any, Any]) -> None:
        """Give a column in an older model the fields that came later."""
        defaults = {name: field.default for name, field in type(self).model_fields.items()}
        super().__setstate__({**state, "__dict__": defaults | state["__dict__"]})

    @field_validator("allowed", "missing", mode="before")
    @classmethod
    def _words(cls, values: Any) -> Any:
        for value in values if isinstance(values, list | tuple) else ():
            if isinstance(value, bool | int | float):
                raise ValueError(f'{value} is no text: quote each value as the data has it, such as "{value}"')
        return values

    @field_validator("allowed")
    @classmethod
    def _levels(cls, allowed: tuple[str, ...] | None) -> tuple[str, ...] | None:
        """The levels as they are read: 107.0 is 107."""
        return allowed and tuple(dict.fromkeys(POINT_ZERO.sub(r"\1", level) for level in allowed))

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
        if self.unit is not None and self.type not in NUMERIC:
            raise ValueError(f"unit is for numbers and integers; this column is of type {self.type}")
        if self.first_year is not None and "%y" not in (self.format or ""):
            raise ValueError("first_year is for datetimes whose format has years of two digits (%y)")
        if self.format is not None and self.type != "datetime":
            raise ValueError(f"format is for datetimes; this column is of type {self.type}")
        if self.derived and self.role in ("target", "id", "time", "source"):
            raise ValueError(f"a derived column cannot be the {self.role}: deliver that column")
        if self.type == "text" and self.role in ("feature", "target"):
            raise ValueError(f"free text is no {self.role}: give the column the type category, or the role ignore")
        return self


class Schema(BaseModel):
    """All columns of the data, in the order in which they are kept, and the spellings of a missing value.

    `history` says which derived columns are made of events. It stands in params.yaml, and goes with a model.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    columns: dict[Annotated[str, AfterValidator(visible)], Column]
    """All columns of the data by name, in the order in which they are kept."""
    missing: tuple[str, ...] = MISSING
    """The texts that mean a missing value in every column."""
    history: Features = Features()

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
        inputs = {*self.inputs, *self.history.keys}
        return [name for name in self.delivered if name in inputs or self.columns[name].role == "source"]

    @property
    def derived(self) -> list[str]:
        """The columns that are made of events, or that `project/features.py` adds."""
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
        chosen = {*self.features, *dates}
        return [name for name in self.columns if name in chosen]

    @property
    def target(self) -> str:
        """The column to predict."""
        return self.with_role("target")[0]

    @property
    def sensitive(self) -> list[str]:
        """The columns along which results are compared between groups."""
        return [name for name, column in self.columns.items() if column.sensitive]

    def with_history(self, history: Features) -> "Schema":
        """The same schema, and which of its derived columns are made of events.

        Raises:
            SchemaError: a column that says whose row it is, or when it is asked about, is not there or no such column.
        """
        for name in history.keys:
            self._refuse_as_key(name, at_time=name == history.time)
        return self.model_copy(update={"history": history.definition})

    def given_history(self) -> "Schema":
        """The same schema for rows in which the columns of history stand; what only those were made of is left out."""
        made = set(self.history.names)
        keys = set() if set(self.derived) - made else set(self.with_role("source"))
        changes = {name: {"derived": False} for name in made} | {name: {"role": "ignore"} for name in keys}
        columns = {name: column.model_copy(update=changes.get(name, {})) for name, column in self.columns.items()}
        return self.model_copy(update={"columns": columns, "history": Features()})

    def _refuse_as_key(self, name: str, *, at_time: bool) -> None:
        use = "features.time" if at_time else "an entity of features"
        if name not in self.columns:
            raise SchemaError(
                f"params.yaml: {use} is {name}, which schema.yaml lacks: {nearest(name, self.from_outside)}"
            )
        column = self.columns[name]
        if column.derived or column.role in ("ignore", "target"):
            what = "a derived column" if column.derived else f"of the role {column.role}"
            better = "time or source" if at_time else "id or source"
            raise SchemaError(
                f"params.yaml: {use} is {name}, which is {what} in schema.yaml: name a delivered column, with the role "
                f"{better} if no model is to learn from it"
            )
        if (column.type == "datetime") != at_time or column.type in ("number", "boolean"):
            wanted = "datetime" if at_time else "integer, category or text"
            raise SchemaError(
                f"params.yaml: {use} is {name}, whose type in schema.yaml is {column.type}: it has to be {wanted}"
            )
