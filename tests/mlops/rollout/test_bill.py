"""The bill of materials: what is in it, and that it follows the standard."""

from importlib import metadata
from typing import Any

import pytest
from mlops.rollout import bill

from tests import cyclonedx
from tests.conftest import PROJECT, TEMPLATE

LOCK = (TEMPLATE / PROJECT / "requirements.txt").read_text(encoding="utf-8")
FACTS = {
    "version": "3",
    "model_type": "random_forest",
    "commit": "c" * 40,
    **{f"{kind}_digest": kind[0] * 64 for kind in ("data", "code")},
    **{f"{kind}_digest": "0" * 64 for kind in ("model", "params")},
}
TIME = "2026-11-28T10:00:00+01:00"


@pytest.fixture(scope="module")
def made() -> dict[str, Any]:
    return bill.bill("churn", LOCK, FACTS, TIME)


def libraries(made: dict[str, Any]) -> list[dict[str, Any]]:
    return [each for each in made["components"] if each["type"] == "library"]


def test_it_follows_the_schema_of_the_standard(made: dict[str, Any]) -> None:
    assert cyclonedx.errors(made) == []
    assert cyclonedx.errors({**made, "metadata": {"component": {"name": "x"}}})


def test_every_pin_of_the_lock_is_in_it_with_all_its_hashes(made: dict[str, Any]) -> None:
    pins = [line.split()[0] for line in LOCK.splitlines() if "==" in line and not line.startswith(" ")]
    found = libraries(made)

    assert [f"{each['name']}=={each['version']}" for each in found] == pins
    assert sum(len(each["hashes"]) for each in found) == LOCK.count("--hash=sha256:") > len(pins)
    assert all(each["hashes"] for each in found)
    markers = {each["bom-ref"]: each["properties"][0]["value"] for each in found if "properties" in each}
    assert len(markers) == sum(" ; " in line for line in LOCK.splitlines())
    assert "python_full_version < '3.12'" in markers.values()
    assert {each["purl"] for each in found} <= set(made["dependencies"][0]["dependsOn"])


def test_a_licence_is_that_of_the_installed_version_and_of_no_other(made: dict[str, Any]) -> None:
    here = {
        each["name"]: metadata.version(each["name"]) == each["version"]
        for each in libraries(made)
        if "licenses" in each
    }

    assert set(here.values()) == {True}
    assert len(here) > 150
    other = bill.bill("churn", "typer==0.0.1 \\\n    --hash=sha256:" + "0" * 64 + "\n", FACTS, TIME)
    assert [("licenses" in each, len(each["hashes"])) for each in libraries(other)] == [(False, 1)]


def test_the_model_and_the_data_stand_there_with_their_digests(made: dict[str, Any]) -> None:
    by_kind = {each["type"]: each for each in made["components"] if each["type"] != "library"}

    assert by_kind["machine-learning-model"]["hashes"] == [{"alg": "SHA-256", "content": FACTS["model_digest"]}]
    assert by_kind["data"]["hashes"] == [{"alg": "SHA-256", "content": FACTS["data_digest"]}]
    assert made["metadata"]["timestamp"] == TIME


def test_the_same_version_gives_the_same_bill_and_another_one_another_number(made: dict[str, Any]) -> None:
    assert bill.bill("churn", LOCK, FACTS, TIME) == made
    assert bill.bill("churn", LOCK, FACTS | {"version": "4"}, TIME)["serialNumber"] != made["serialNumber"]
