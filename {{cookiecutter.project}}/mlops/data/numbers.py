"""Numbers as people and programs write them: with signs, grouped digits, units, per cent or thousands."""

import re

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from mlops.data.schema import Decimal

PLAIN = r"^[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?$"
# What stands for a power of ten behind a number.
SCALES = {"": 0, "k": 3, "K": 3, "M": 6, "B": 9, "bn": 9}
SIGNS = "$€£¥₹%"  # that may stand beside a number without being named as its unit
SHARE = "share"  # the unit by which a per cent is a hundredth
# Digits and a power of ten, with one sign of a unit; a minus stands in front, before the digits, or at the end.
SPELT = re.compile(
    rf"(?P<sign>[-+]?)\s*(?P<before>[{SIGNS}]?)\s*(?P<inner>-?)\s*(?P<digits>[\d.].*?)\s*(?P<scale>bn|[kKMB]?)"
    rf"\s*(?P<behind>[{SIGNS}]?)(?P<last>-?)"
)
GROUPS = {".": ",", ",": "."}
BLANKS = " '’\u00a0\u202f"
# Digits in groups of three, or of two before the last three as in India, by the sign that is not the decimal one.
GROUPED = {
    sign: re.compile(
        rf"[1-9]\d?\d?(?:([{re.escape(group + BLANKS)}])\d\d\d(?:\1\d\d\d)*|(?:{re.escape(group)}\d\d)+"
        rf"{re.escape(group)}\d\d\d)(?:{re.escape(sign)}\d*)?",
        re.ASCII,
    )
    for sign, group in GROUPS.items()
}


def arrow(values: pd.Series) -> pa.Array:
    """The text of a column (n,) as one Arrow array, whatever parts it was read in."""
    text = pa.array(values, pa.large_string())
    return text.combine_chunks() if isinstance(text, pa.ChunkedArray) else text


def floats(text: pa.Array, decimal: Decimal, unit: str | None) -> NDArray[np.float64]:
    """The numbers that text of shape (n,) stands for, NaN for what is none; infinite ones and ±1.797e308 are none.

    `unit` is a word or sign that stands before or behind the numbers; with the unit `share`, 37% is 0.37.
    """
    if unit and unit != SHARE:
        text = without(text, unit)
    numbers = _floats(text, decimal, share=unit == SHARE)
    with np.errstate(invalid="ignore"):
        return np.where(np.abs(numbers) < np.finfo(np.float64).max, numbers, np.nan)


def without(text: pa.Array, unit: str) -> pa.Array:
    """The same text (n,) without the unit, which may stand at either end of a value, once."""
    word = re.escape(unit)
    return pc.utf8_trim_whitespace(
        pc.replace_substring_regex(text, rf"^([-+(]?)\s*{word}\s*|\s*{word}([-)]?)$", r"\1\2", max_replacements=1)
    )


def digits(text: str, decimal: Decimal, *, share: bool) -> str | None:
    """The number that a spelling stands for, as digits with a point; None if it is no number.

    With `share`, a per cent is a hundredth.
    """
    text = re.sub("^[\u2212\u2013]|[\u2212\u2013]$", "-", text)  # as typographers write a minus
    negative = re.fullmatch(r"\((.*)\)", text)
    spelt = SPELT.fullmatch(negative[1] if negative else text)
    if not spelt:
        return None
    minus = [spelt["sign"] == "-", bool(spelt["inner"]), bool(spelt["last"]), bool(negative)]
    before, behind, scale = spelt["before"], spelt["behind"], spelt["scale"]
    if sum(minus) > 1 or (before and behind) or (spelt["sign"] == "+" and any(minus)):
        return None
    bare = spelt["digits"]
    if found := GROUPED[decimal].fullmatch(bare):
        group = found[1] or GROUPS[decimal]
        bare = bare.replace(group, "")
    elif decimal == "," and "." in bare:
        return None
    bare = bare.replace(decimal, ".")
    power = SCALES[scale] - 2 * (share and "%" in (before, behind))
    if power:
        bare = f"{bare}e{power}" if "e" not in bare.lower() else ""
    return ("-" if any(minus) else "") + bare if re.fullmatch(PLAIN, bare, re.ASCII) else None


def _floats(text: pa.Array, decimal: Decimal, *, share: bool) -> NDArray[np.float64]:
    if decimal == ".":
        try:
            numbers: NDArray[np.float64] = text.cast(pa.float64()).to_numpy(zero_copy_only=False)
            return numbers  # nearly always all are plain
        except pa.ArrowInvalid:
            swapped = text
    else:
        dotless = pc.if_else(pc.match_substring(text, "."), None, text)
        swapped = pc.replace_substring(dotless, ",", ".")
    is_plain = pc.fill_null(pc.match_substring_regex(swapped, PLAIN), False)
    signless = pc.utf8_ltrim(pc.if_else(is_plain, swapped, None), "+")
    numbers = signless.cast(pa.float64()).to_numpy(zero_copy_only=False).copy()
    others = np.flatnonzero(pc.and_(pc.invert(is_plain), text.is_valid()))
    if len(others):
        spelt = text.take(pa.array(others)).dictionary_encode()
        meant = np.array(
            [float(digits(value, decimal, share=share) or "nan") for value in spelt.dictionary.to_pylist()]
        )
        numbers[others] = meant[spelt.indices.to_numpy()]
    return numbers
