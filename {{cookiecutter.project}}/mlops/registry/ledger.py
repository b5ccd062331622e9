"""A log in which nothing can be changed unseen: each entry carries the hash of the one before it."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

Entry = dict[str, Any]
FIRST = ""  # what the first entry follows


def linked(facts: Mapping[str, Any], number: int, previous: str) -> Entry:
    """An entry: its number (from 1), what is logged, the hash of the entry before, and its own."""
    entry = {"number": number, **facts, "previous": previous}
    return {**entry, "hash": digest(entry)}


def digest(entry: Mapping[str, Any]) -> str:
    """SHA-256 (hexadecimal) of all that an entry says, but for its own hash."""
    content = {name: value for name, value in entry.items() if name != "hash"}
    return hashlib.sha256(json.dumps(content, sort_keys=True, ensure_ascii=False).encode()).hexdigest()


def broken(entries: Sequence[Entry]) -> list[str]:
    """A sentence for each entry that was edited, or before which one was removed or moved; [] if all is well."""
    found = []
    last: Entry = {"number": 0, "hash": FIRST}
    for entry in entries:
        name = f"entry {entry.get('number')}"
        if entry.get("hash") != digest(entry):
            found.append(f"{name} was edited: its content does not give its hash")
        if entry.get("number") != last["number"] + 1 and entry.get("previous") != last["hash"]:
            found.append(f"before {name} entries are missing or in another order: it follows entry {last['number']}")
        elif entry.get("previous") != last["hash"]:
            found.append(f"{name} does not follow entry {last['number']}: one of them is not what it was")
        last = entry
    return found
