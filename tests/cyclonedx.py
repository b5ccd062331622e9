"""The schema of bills of materials, as the package of the standard ships it."""

import json
from collections.abc import Mapping
from importlib import resources
from typing import Any

import jsonschema
from referencing import Registry, Resource

SCHEMAS = ("bom-1.6", "spdx", "jsf-0.82")


def errors(bill: Mapping[str, Any]) -> list[str]:
    """What a bill of materials has against CycloneDX 1.6."""
    folder = resources.files("cyclonedx.schema") / "_res"
    schemas = [json.loads((folder / f"{name}.SNAPSHOT.schema.json").read_text("utf-8")) for name in SCHEMAS]
    known = Registry().with_resources([(each["$id"], Resource.from_contents(each)) for each in schemas])
    validator = jsonschema.Draft7Validator(schemas[0], registry=known)
    return [error.message for error in validator.iter_errors(bill)]
