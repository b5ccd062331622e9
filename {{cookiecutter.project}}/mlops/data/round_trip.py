"""The round trip of a column: written back as the schema spells it, a typed value gives the text again – or it is told.

What is told are losses: a word taken for missing, a value of another type, spellings that become one, zeros or digits
that a number does not keep, a minus that stands behind it or is made of brackets, one sign that groups thousands where
it could be a decimal sign, a unit that the schema does not name, a per cent sign or a K read as a factor, a zone that
becomes UTC. Blanks around a value and zeros at the end of a fraction are no losses.
"""

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from mlops.data import numbers, times
from mlops.data.numbers import arrow
from mlops.data.schema import NUMERIC, Column, Loss

# A float64 keeps whole numbers of so many digits, and fractions of two more.
SURE_DIGITS = 15
MOST_DIGITS = 17
KEPT = r"^[+-]?(?:0?\.0*[0-9]{1,17}|[0-9]{1,15}\.[0-9]{0,2})$"
FRACTION = r"^-?[0-9]{1,15}\.[0-9]*$"
# The characters of numbers that lose nothing: digits, signs, groups; and those of times without a zone.
HARMLESS = b"0123456789.,'+- "
CLOCK = b"0123456789-/.:T "
SECONDS = len("2024-02-29T12:00:00")
EXACT = 2**53
SLICE = 2**16  # texts that are looked at in the processor's cache
MOST_WORDS = 3  # that a sentence names
SENTENCES: dict[Loss, str] = {
    "words": "{written} means missing",
    "unparseable": "{written} is not of the type {type}: {read}",
    "merged": "{written} is written in another way than other values: read as {read}",
    "zeros": "{written} loses zeros: read as {read}",
    "digits": "{written} loses digits: read as {read}",
    "signs": "{written} is read as {read}",
    "groups": "{written} is read as {read}; if its sign is the decimal one, say so by decimal",
    "units": "{written} has a unit of its own, or none: read as {read}",
    "scales": "{written} is read as {read}",
    "zones": "{written} is read as {read}, in UTC",
    "midnight": "{written} is read as {read}",
}


@dataclass(frozen=True)
class Change:
    """A loss of a column: its kind, the number of rows, and one value as it was `written` and as it was `read`."""

    kind: Loss
    rows: int
    written: str
    read: str

    def sentence(self, column: Column) -> str:
        """The loss in words."""
        words = SENTENCES[self.kind].format(written=self.written, read=self.read, type=column.type)
        return f"{words} ({self.rows} {'row' if self.rows == 1 else 'rows'})"


# What batches of a column show: by kind, and for `merged` by what the spellings become; and by spelling.
Seen = dict[tuple[Loss, str, str], Change]


@dataclass(frozen=True)
class Written:
    """The text (n,) of all values that are not missing, and all typed values, at `rows` (n,) of which they stand."""

    text: pa.Array
    typed: pd.Series
    rows: NDArray[np.intp] | None = None

    def read(self, place: int) -> Any:
        """What one of the texts was read as."""
        return self.typed.iloc[place if self.rows is None else self.rows[place]]


def seen(raw: pd.Series, given: pd.Series, typed: pd.Series, column: Column) -> Seen:
    """What a batch of a column shows: `raw` (n,) as delivered, `typed` (n,) as `mlops.data.parsing` reads it.

    `given` (n,) is False where a value is missing. Whether two spellings become one, only all batches together show.
    """
    text = isinstance(raw.dtype, pd.StringDtype)
    found: Seen = {}
    if text and not given.all():
        for word, rows in _words(arrow(raw).filter(pa.array(~given)).drop_null()).items():
            found["words", "", word] = Change("words", rows, repr(word), "missing")
    kept = typed.notna().to_numpy(dtype=bool)
    wrong = given.to_numpy(dtype=bool) & ~kept
    if wrong.any():
        became = "a rejected row" if column.unparseable == "reject" else "missing"
        found["unparseable", "", ""] = Change("unparseable", int(wrong.sum()), repr(str(raw[wrong].iloc[0])), became)
    if not text:
        return found | (_of_numbers(raw[kept]) if column.type == "number" else {})
    if column.type == "text":
        return found
    written = Written(arrow(raw), typed)
    if not kept.all():
        written = Written(written.text.filter(pa.array(kept)), typed, np.flatnonzero(kept))
    if column.type in NUMERIC:
        return found | _of_text(written, column)
    if column.type == "datetime":
        return found | _of_times(written)
    return found | (_of_booleans(written) if column.type == "boolean" else _of_levels(written))


def together(batches: Iterable[Seen]) -> Seen:
    """What several batches of a column show."""
    found: Seen = {}
    for batch in batches:
        for key, change in batch.items():
            found[key] = replace(found[key], rows=found[key].rows + change.rows) if key in found else change
    return found


def losses(found: Seen) -> list[Change]:
    """The losses of a column, given what all its batches show."""
    groups: dict[tuple[Loss, str], list[Change]] = {}
    for (kind, becomes, _), change in found.items():
        groups.setdefault((kind, becomes), []).append(change)
    changes: dict[Loss, Change] = {}
    for (kind, _), group in groups.items():
        group.sort(key=lambda change: (-change.rows, change.written))
        usual, group = group[0], group[1:] if kind == "merged" else group  # the usual spelling is no loss
        if group:
            changed = next((change for change in (*group, usual) if change.written != change.read), usual)
            known = [changes[kind]] if kind in changes else []
            rows = sum(change.rows for change in known + group)
            if kind == "words":
                written = " or ".join(change.written for change in group[:MOST_WORDS])
                changed = replace(changed, written=written)
            changes[kind] = replace(known[0] if known else changed, rows=rows)
    return list(changes.values())


def _words(text: pa.Array) -> Counter[str]:
    """The rows of each word that stands for missing, without blanks around it; an empty text (n,) is no word."""
    words = Counter[str]()
    if len(_letters(text)[1]):
        for place, count in _distinct(text):
            words[text[place].as_py().strip()] += count
    del words[""]
    return words


def _of_text(written: Written, column: Column) -> Seen:
    text, unit = written.text, column.unit if column.unit != numbers.SHARE else None
    bare = numbers.without(text, unit) if unit else text
    harmless = HARMLESS + b"eE" * (column.type == "number")
    parts = [_suspicious(bare.slice(start, SLICE), harmless) for start in range(0, len(bare), SLICE)]
    suspicious = np.concatenate([np.zeros(0, dtype=bool), *parts])
    if unit:
        suspicious |= _equal(bare, text)  # no unit, where the schema names one
    found: Seen = {}
    group = numbers.GROUPS[column.decimal]
    if group.encode() in _letters(bare)[1].tobytes():
        grouped = np.flatnonzero(pc.match_substring_regex(bare, rf"^\D*[1-9]\d?\d?\{group}\d\d\d\D*$"))
        if len(grouped):
            at = grouped[0]
            change = Change("groups", len(grouped), repr(text[at].as_py().strip()), _shown(written.read(at)))
            found["groups", "", ""] = change
    for place, count in _distinct(text, np.flatnonzero(suspicious)):
        stands, read = text[place].as_py().strip(), written.read(place)
        for kind in _kinds(stands, bare[place].as_py().strip(), read, column):
            change = found.get((kind, "", ""), Change(kind, 0, repr(stands), _shown(read)))
            found[kind, "", ""] = replace(change, rows=change.rows + count)
    return found


def _suspicious(text: pa.Array, harmless: bytes) -> NDArray[np.bool_]:
    """Where text (n,) may lose something: a zero or blank in front, many digits, a letter or sign that may do harm.

    That is seen in the bytes of all values at once, since a look at each value would take longer than to read it.
    """
    bounds, letters = _letters(text)
    if not len(letters):
        return np.zeros(len(text), dtype=bool)
    starts, lengths, written = bounds[:-1], np.diff(bounds), letters.tobytes()
    odd = lengths > SURE_DIGITS
    if odd.any():
        long = np.flatnonzero(odd)
        some = text.take(pa.array(long))
        few = pc.less_equal(pc.binary_length(some), MOST_DIGITS + 1)
        fraction = pc.match_substring_regex(some, FRACTION)
        odd[long] = ~np.asarray(pc.or_(pc.and_(few, fraction), pc.match_substring_regex(some, KEPT)))
    if written.translate(None, harmless):
        harmful = ~np.isin(np.arange(256), list(harmless))
        odd[np.searchsorted(starts, np.flatnonzero(harmful[letters]), "right") - 1] = True
    first = letters.take(starts, mode="clip")  # an empty text may stand at the end
    odd |= first == ord(" ")
    minus = first == ord("-")
    if (letters == ord("-")).sum() > minus.sum():
        odd |= letters.take(bounds[1:] - 1, mode="clip") == ord("-")
    digits = starts + (minus | (first == ord("+")))
    zeros = np.flatnonzero(letters.take(digits, mode="clip") == ord("0"))
    second = letters.take(digits[zeros] + 1, mode="clip")
    odd[zeros] |= (digits[zeros] + 1 < bounds[1:][zeros]) & (second >= ord("0")) & (second <= ord("9"))
    return odd


def _letters(text: pa.Array) -> tuple[NDArray[np.int64], NDArray[np.uint8]]:
    """The bytes of all texts (n,), and where each begins and ends in them (n + 1,)."""
    if not len(text):
        return np.zeros(1, np.int64), np.zeros(0, np.uint8)
    _, offsets, data = text.buffers()
    bounds = np.frombuffer(offsets, np.int64)[text.offset : text.offset + len(text) + 1]
    letters = np.frombuffer(data or b"", np.uint8)[bounds[0] : bounds[-1]]
    return bounds - bounds[0] if bounds[0] else bounds, letters


def _distinct(text: pa.Array, places: NDArray[np.intp] | None = None) -> list[tuple[int, int]]:
    """The first place, and the number, of each different text (n,): all, or those at some places."""
    some = text if places is None else text.take(pa.array(places))
    codes = some.dictionary_encode().indices.to_numpy(zero_copy_only=False)
    counts = np.bincount(codes)
    first = np.empty(len(counts), np.intp)
    first[codes[::-1]] = np.arange(len(some))[::-1]
    return [(int(first[k] if places is None else places[first[k]]), int(counts[k])) for k in range(len(counts))]


def _kinds(written: str, bare: str, read: float, column: Column) -> list[Loss]:
    """The losses of one number, `bare` without the unit that the schema names."""
    found: list[Loss] = []
    share = column.unit == numbers.SHARE
    exact = numbers.digits(bare, column.decimal, share=share) or bare
    signs = set(bare) & set(numbers.SIGNS) - {"%" if share else ""}
    if signs or (column.unit and not share and written == bare):
        found.append("units")
    if re.search(r"^\W*\(|-$", bare):
        found.append("signs")
    scaled = any(bare.rstrip(numbers.SIGNS + " )-").endswith(scale) for scale in numbers.SCALES if scale)
    if scaled or (share and "%" in bare) or (column.type == "integer" and "e" in exact.lower()):
        found.append("scales")
    digits = exact.lstrip("+-")
    if len(digits) > 1 and digits[0] == "0" and digits[1].isdigit():
        found.append("zeros")
    whole, _, rest = digits.lower().split("e")[0].partition(".")
    fraction = bool(rest.strip("0")) and len(whole) <= SURE_DIGITS and len((whole + rest).strip("0")) <= MOST_DIGITS
    if not fraction and Decimal(exact) != (Decimal(repr(float(read))) if column.type == "number" else int(read)):
        found.append("digits")
    return found


def _of_numbers(raw: pd.Series) -> Seen:
    """Whole numbers of 64 bits that a float does not hold."""
    if not pd.api.types.is_integer_dtype(raw.dtype):
        return {}
    whole = raw.to_numpy()
    lost = (np.abs(whole) > EXACT) & (whole.astype(np.float64).astype(whole.dtype) != whole)
    if not lost.any():
        return {}
    first = whole[lost][0]
    return {("digits", "", ""): Change("digits", int(lost.sum()), repr(str(first)), _shown(float(first)))}


def _of_booleans(written: Written) -> Seen:
    found = Counter[tuple[str, str]]()
    for place, count in _distinct(written.text):
        found[str(written.read(place)), written.text[place].as_py().strip()] += count
    return {("merged", *key): Change("merged", rows, repr(key[1]), key[0]) for key, rows in found.items()}


def _of_levels(written: Written) -> Seen:
    """How many levels have blanks around them or not; and how many whole numbers have .0 behind them or not."""
    text, read = written.text, arrow(written.typed)
    bounds, letters = _letters(text)
    if pc.sum(pc.binary_length(read), min_count=0).as_py() == len(letters):
        same = np.ones(len(text), dtype=bool)  # reading only takes away
    else:
        same = _equal(text, read if written.rows is None else read.take(pa.array(written.rows)))
    zeros, whole = np.zeros(len(text), dtype=bool), np.zeros(len(text), dtype=bool)
    if len(letters) and not letters.tobytes().translate(None, b"0123456789"):
        whole = np.diff(bounds) > 0
    elif len(letters):
        places = np.flatnonzero(letters.take(bounds[:-1], mode="clip") <= ord("9"))  # a digit, sign or blank
        some = text.take(pa.array(places))
        zeros[places] = pc.match_substring_regex(some, r"^\s*[+-]?\d+\.0\s*$")
        whole[places] = pc.match_substring_regex(some, r"^\s*[+-]?\d+\s*$")
    parts = {("blanks", "none"): same | zeros, ("blanks", "some"): ~same & ~zeros}
    parts |= {("zero", "none"): whole, ("zero", "point zero"): zeros}
    found: Seen = {}
    for key, part in parts.items():
        if rows := int(part.sum()):
            at = int(part.argmax())
            found["merged", *key] = Change("merged", rows, repr(text[at].as_py()), repr(written.read(at)))
    return found


def _of_times(written: Written) -> Seen:
    bounds, letters = _letters(written.text)
    all_of_it = letters.tobytes()
    if b":" not in all_of_it and b"." not in all_of_it:
        return {}  # days, without a clock
    lengths = np.diff(bounds)
    if (lengths == SECONDS).all():
        clocks = letters.reshape(-1, SECONDS)
        if (clocks[:, [13, 16]] == ord(":")).all() and not (clocks[:, 11:13] == [ord("2"), ord("4")]).all(axis=1).any():
            return {}  # most are as in 2024-02-29 12:00:00
    kinds: dict[Loss, str] = {"midnight": times.MIDNIGHT}
    if all_of_it.translate(None, CLOCK) or (lengths > SECONDS).any():
        kinds |= {"zones": times.ZONED, "digits": r"\.[0-9]{6}0*[1-9]"}
    elif b" 24:" not in all_of_it and b"T24:" not in all_of_it:
        return {}
    found: Seen = {}
    for kind, pattern in kinds.items():
        places = np.flatnonzero(pc.match_substring_regex(written.text, pattern))
        if len(places):
            at = int(places[0])
            found[kind, "", ""] = Change(kind, len(places), repr(written.text[at].as_py()), str(written.read(at)))
    return found


def _equal(first: pa.Array, second: pa.Array) -> NDArray[np.bool_]:
    return np.asarray(pc.equal(first, second), dtype=bool)


def _shown(number: float) -> str:
    return f"{number:.17g}" if isinstance(number, float) else str(number)
