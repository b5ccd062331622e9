"""The audit log shows whatever was done to it: an edit, a removal, another order."""

import copy

from hypothesis import given, settings
from hypothesis import strategies as st
from mlops.registry import ledger
from mlops.registry.ledger import Entry

EXAMPLES = settings(max_examples=50, deadline=None, derandomize=True)


def log(length: int) -> list[Entry]:
    entries: list[Entry] = []
    for number in range(1, length + 1):
        facts = {"action": "promote", "to": f"{number}", "who": "Ada", "reason": "größer"}
        entries.append(ledger.linked(facts, entries))
    return entries


def test_a_log_that_nobody_touched_is_whole() -> None:
    assert ledger.broken([]) == []
    assert ledger.broken(log(5)) == []


@EXAMPLES
@given(st.data())
def test_an_edited_entry_is_named(data: st.DataObject) -> None:
    entries = copy.deepcopy(log(5))
    at = data.draw(st.integers(0, 4))
    field = data.draw(st.sampled_from(["to", "who", "reason", "number", "previous"]))
    entries[at][field] = 99 if field == "number" else "somebody else"

    assert any("was edited" in sentence for sentence in ledger.broken(entries))
    if field != "number":
        assert f"entry {at + 1} was edited: its content does not give its hash" in ledger.broken(entries)


@EXAMPLES
@given(st.integers(0, 3))
def test_an_entry_that_was_edited_and_hashed_anew_breaks_the_next(at: int) -> None:
    entries = copy.deepcopy(log(5))
    entries[at]["who"] = "somebody else"
    entries[at]["hash"] = ledger.digest(entries[at])

    assert ledger.broken(entries) == [f"entry {at + 2} does not follow entry {at + 1}: one of them is not what it was"]


@EXAMPLES
@given(st.integers(0, 3))
def test_a_removed_entry_is_missed_by_the_next(at: int) -> None:
    entries = log(5)
    del entries[at]

    assert ledger.broken(entries) == [
        f"before entry {at + 2} entries are missing or in another order: it follows entry {at}"
    ]


@EXAMPLES
@given(st.permutations(range(5)).filter(lambda order: list(order) != list(range(5))))
def test_another_order_is_seen(order: list[int]) -> None:
    entries = log(5)

    assert ledger.broken([entries[number] for number in order])
