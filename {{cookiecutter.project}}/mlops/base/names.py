"""One form of a column's name, wherever it stands: in a CSV or Parquet file, in schema.yaml, in a parameter."""

import unicodedata
from collections.abc import Iterable

INVISIBLE = ("Cf", "Cc")  # Unicode's categories of byte order marks, joiners, soft hyphens and control signs


def visible(name: str) -> str:
    """The name in Unicode's form NFC, with plain blanks and without signs that nobody sees; line ends and tabs stay."""
    if name.isascii() and name.isprintable():
        return name.strip()
    signs = (" " if unicodedata.category(sign) == "Zs" else sign for sign in unicodedata.normalize("NFC", name))
    return "".join(sign for sign in signs if sign in "\t\r\n" or unicodedata.category(sign) not in INVISIBLE).strip()


def unique(names: Iterable[str]) -> tuple[str, ...]:
    """The visible names; a missing or repeated name becomes what pandas would call the column."""
    found: dict[str, None] = {}
    for position, raw in enumerate(names):
        name = base = visible(raw) or f"Unnamed: {position}"
        number = 0
        while name in found:
            number += 1
            name = f"{base}.{number}"
        found[name] = None
    return tuple(found)
