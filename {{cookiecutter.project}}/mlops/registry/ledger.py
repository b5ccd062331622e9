"""A log in which no change stays hidden: each entry carries the hash of the entry before it."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

Entry = dict[str, Any]
START = ""  # the first entry carries it in place of a hash


def linked(facts: Mapping[str, Any], entries: Sequence[Entry]) -> Entry:
    """The entry that follows `entries`: its number (from 1), the facts, the hash of the last entry, and its own."""
    previous = entries[-1]["hash"] if entries else START
    entry = {"number": len(entries) + 1, **facts, "previous": previous}
    return {**entry, "hash": digest(entry)}


def digest(entry: Mapping[str, Any]) -> str:
    """SHA-256 (hexadecimal) of an entry without its own hash."""
    content = {name: value for name, value in entry.items() if name != "hash"}
    return hashlib.sha256(json.dumps(content, sort_keys=True, ensure_ascii=False).encode()).hexdigest()


def broken(entries: Sequence[Entry]) -> list[str]:
    """A sentence for each entry that was edited, and for each place where entries were removed or moved."""
    found = []
    last: Entry = {"number": 0, "hash": START}
    for entry in entries:
        name = f"entry {entry.get('number')}"
        if entry.get("hash") != digest(entry):
            found.append(f"{name} was edited: its content does not give its hash")
        if entry.get("previous") != last["hash"]:
            found.append(
                f"{name} does not follow entry {last['number']}: one of them is not what it was"
                if entry.get("number") == last["number"] + 1
                else f"before {name} entries are missing or in another order: it follows entry {last['number']}"
            )
        last = entry
    return found
