"""The events of a real chain, held against OpenLineage's own types, which its project generates from its schema.

Those types say what is required, of which type, and which version of the schema each facet is of; OpenLineage publishes
its schema itself in no package.
"""

import importlib
import json
import pkgutil
from collections.abc import Callable
from enum import Enum
from pathlib import Path
from typing import Any, get_args, get_origin
from urllib.parse import urlsplit

import attr
import pytest
from openlineage.client import generated
from openlineage.client.generated.base import RunEvent

from tests.conftest import BakedProject, bake_copy
from tests.projects import MLOPS, answers, succeeds

pytestmark = pytest.mark.xdist_group("openlineage")  # one chain for all tests

Event = dict[str, Any]

MODULES = [
    importlib.import_module(f"{generated.__name__}.{found.name}") for found in pkgutil.iter_modules(generated.__path__)
]
# Every type of the standard by the address of its schema, which is how an event and a facet say what they are.
PUBLISHED = {
    kind._get_schema(): kind for module in MODULES for kind in vars(module).values() if hasattr(kind, "_get_schema")
}
ADDRESSES = ("producer", "_producer", "schemaURL", "_schemaURL", "url")


def faults(said: Any, kind: Any, where: str = "event") -> list[str]:
    """What is wrong with `said`, plain values, as a value of a type of the standard."""
    if may_be_left_out(kind):
        kind = next(one for one in get_args(kind) if one is not type(None))
    outer, inner = get_origin(kind) or kind, get_args(kind)
    if attr.has(outer):
        outer = dict
    if issubclass(outer, Enum):
        return [] if said in {one.value for one in outer} else [f"{where} is {said!r}"]
    if not isinstance(said, outer):
        return [f"{where} is {said!r}, which is no {outer.__name__}"]
    if attr.has(kind):
        return object_faults(said, kind, where)
    if outer is list:
        return [fault for n, one in enumerate(said) for fault in faults(one, inner[0], f"{where}[{n}]")]
    if outer is dict:
        return [fault for name, one in said.items() for fault in facet_faults(one, inner[1], f"{where}.{name}")]
    return []


def may_be_left_out(kind: Any) -> bool:
    """What the schema does not require may be None in its type."""
    return type(None) in get_args(kind)


def facet_faults(said: Event, base: type, where: str) -> list[str]:
    """A facet is of the type that it says it is, which has to be one for this place."""
    kind = PUBLISHED.get(said.get("_schemaURL", ""))
    if kind is None or not issubclass(kind, base):
        return [f"{where} is of {said.get('_schemaURL')}, which is no {base.__name__}"]
    return object_faults(said, kind, where)


def object_faults(said: Event, kind: type, where: str) -> list[str]:
    """What is missing, unknown, of the wrong type, or refused by the standard's own check of a format."""
    fields = {one.name: one for one in attr.fields(attr.resolve_types(kind))}
    found = [f"{where} has the unknown {name}" for name in said if name not in fields]
    for name, one in fields.items():
        if name not in said:
            found += [] if may_be_left_out(one.type) else [f"{where} lacks {name}"]
            continue
        of_field = faults(said[name], one.type, f"{where}.{name}")
        try:
            if one.validator and not of_field:
                one.validator(None, one, said[name])
        except ValueError as error:
            of_field = [f"{where}.{name}: {error}"]
        if name in ADDRESSES and not urlsplit(str(said[name])).scheme:
            of_field.append(f"{where}.{name} is no URI: {said[name]!r}")
        found += of_field
    return found


def by(project: BakedProject, name: str) -> BakedProject:
    """The project as someone has it before them."""
    who = {"KEY_0": "user.name", "VALUE_0": name, "KEY_1": "user.email", "VALUE_1": f"{name}@localhost"}
    return project.with_env(GIT_CONFIG_COUNT="2", **{f"GIT_CONFIG_{key}": value for key, value in who.items()})


@pytest.fixture(scope="module")
def project(quick: BakedProject, tmp_path_factory: pytest.TempPathFactory) -> BakedProject:
    """The example, its version approved and promoted, with a remote in whose address a password stands."""
    copy = bake_copy(quick, tmp_path_factory.mktemp("traced"))
    succeeds(copy, "git", "remote", "add", "origin", "https://ada:hunter2@localhost/churn.git")
    answers(by(copy, "bob"), "approve", "1", "--reason", "looks good")
    answers(by(copy, "bob"), "promote", "1", "--reason", "first model")
    return copy


@pytest.fixture(scope="module")
def text(project: BakedProject) -> str:
    succeeds(project, *MLOPS, "trace", "1", "--openlineage", "lineage.jsonl")
    return project.read("lineage.jsonl")


@pytest.fixture
def events(text: str) -> list[Event]:
    return [json.loads(line) for line in text.splitlines()]


def test_the_events_of_a_real_chain_are_valid(events: list[Event]) -> None:
    assert [fault for event in events for fault in faults(event, PUBLISHED[event["schemaURL"]])] == []
    assert {PUBLISHED[event["schemaURL"]] for event in events} == {RunEvent}


def broken(where: str, change: Callable[[Event], Any]) -> Any:
    return pytest.param(change, where, id=where)


@pytest.mark.parametrize(
    ("change", "where"),
    [
        broken("event lacks job", lambda event: event.pop("job")),
        broken("event lacks producer", lambda event: event.pop("producer")),
        broken("event has the unknown jobs", lambda event: event.update(jobs=[])),
        broken("event.eventType", lambda event: event.update(eventType="DONE")),
        broken("event.eventTime", lambda event: event.update(eventTime="2026-01-02")),
        broken("event.producer is no URI", lambda event: event.update(producer="us")),
        broken("event.run.runId", lambda event: event["run"].update(runId="1")),
        broken("event.inputs[0] lacks namespace", lambda event: event["inputs"][0].pop("namespace")),
        broken("event.inputs is", lambda event: event.update(inputs={})),
        broken("event.inputs[0].name", lambda event: event["inputs"][0].update(name=1)),
        broken(
            "event.outputs[0].facets.version lacks datasetVersion",
            lambda event: event["outputs"][0]["facets"]["version"].pop("datasetVersion"),
        ),
        broken(
            "event.outputs[0].facets.version is of",
            lambda event: event["outputs"][0]["facets"].update(version=event["job"]["facets"]["sourceCodeLocation"]),
        ),
        broken("sourceCodeLocation lacks url", lambda event: event["job"]["facets"]["sourceCodeLocation"].pop("url")),
    ],
)
def test_a_broken_event_is_not(events: list[Event], change: Callable[[Event], Any], where: str) -> None:
    change(events[0])

    (fault,) = faults(events[0], RunEvent)

    assert where in fault


def test_they_lead_from_the_raw_file_to_production(events: list[Event]) -> None:
    known = {event["job"]["name"]: event for event in events}
    stages = ["prepare", "validate", "train", "evaluate", "register", "monitor"]
    assert [event["job"]["name"] for event in events] == [*stages, "approve", "promote"]

    def before(one: Event) -> set[str]:
        """The jobs that it hangs on, and what it reads that no job wrote."""
        reads = {(dataset["namespace"], dataset["name"]) for dataset in one["inputs"]}
        writers = [
            name
            for name, event in known.items()
            if reads & {(out["namespace"], out["name"]) for out in event["outputs"]}
        ]
        return {name for _, name in reads}.union(writers, *(before(known[name]) for name in writers))

    assert before(known["promote"]) >= {
        "register",
        "evaluate",
        "train",
        "validate",
        "prepare",
        "data/raw/telco-churn.csv",
    }


def test_a_second_export_has_the_same_bytes_and_neither_has_a_password(project: BakedProject, text: str) -> None:
    printed = answers(project, "trace", "1", "--openlineage", "again.jsonl", "--json")

    assert project.read("again.jsonl") == text
    assert "https://localhost/churn.git" in text
    assert "hunter2" not in text + printed


def test_the_export_says_how_much_went_where_beside_the_json(project: BakedProject, text: str, tmp_path: Path) -> None:
    to = tmp_path / "new" / "lineage.jsonl"

    done = project.call("trace", "models/model.joblib", "--openlineage", str(to), "--json")

    assert json.loads(done.stdout)[0]["name"] == "customer-churn"
    assert done.stderr == f"8 OpenLineage events are in {to}\n"
    assert to.read_text(encoding="utf-8") == text


def test_a_file_that_cannot_be_written_gets_one_sentence(project: BakedProject) -> None:
    done = project.call("trace", "1", "--openlineage", "reports")

    assert done.returncode == 1
    assert done.stderr == "Error: reports could not be written: Is a directory\n"
