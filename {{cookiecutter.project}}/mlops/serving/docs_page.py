"""The page `/docs`: the server's OpenAPI description for people, in one file without scripts, readable offline."""

import json
from collections import Counter
from collections.abc import Mapping
from typing import Any

from mlops.base import pages
from mlops.serving.openapi import Described

# A page that holds what others have named loads nothing and runs nothing.
HEADERS = {"content-security-policy": "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'"}

FEW = 10  # values of an enumeration that are listed
KINDS = {bool: "boolean", int: "number", float: "number", str: "string", type(None): "null"}
MISSING = " Missing is "  # where a column's description ends with what is missing


def page(described: Described) -> str:
    """The HTML page of an OpenAPI description that `app` has made, with a model or without one."""
    parts = described["components"]
    schemas = parts.get("schemas", {})
    keys = [each["name"] for each in parts.get("securitySchemes", {}).values()]
    content: dict[str, Any] = {"columns": []}
    if schemas:
        row, request = schemas["Row"], schemas["PredictRequest"]
        example, features = request["examples"]
        columns = [_field(name, row["properties"][name]) for name in row["required"]]
        content = {
            "columns": columns,
            # The same long list of words for most columns, which is told once.
            "missing": Counter(column["missing"] for column in columns).most_common(1)[0][0],
            "others": [name for name in row["properties"] if name not in row["required"]],
            "fields": [_field(*each) for each in schemas["Prediction"]["properties"].items()],
            "most": request["anyOf"][0]["properties"]["rows"]["maxItems"],
            "example": json.dumps(example, ensure_ascii=False, indent=2),
            "features": json.dumps(features, ensure_ascii=False),
        }
    paths = [
        {
            "method": method.upper(),
            "path": path,
            "media": list(operation.get("requestBody", {}).get("content", {})),
            "answers": [(status, each["description"]) for status, each in sorted(operation["responses"].items())],
        }
        for path, operations in described["paths"].items()
        for method, operation in operations.items()
    ]
    about = described["info"]
    return pages.filled(
        "server.html", title=about["title"], version=about["version"], key=(keys or [""])[0], paths=paths, **content
    )


def _field(name: str, described: Mapping[str, Any]) -> dict[str, str]:
    """A row of a table: the name, its types in JSON, and what OpenAPI says of it."""
    kinds, values = described.get("type", []), described.get("enum", [])
    kinds = [kinds] if isinstance(kinds, str) else list(kinds)
    if 0 < len(values) <= FEW:
        kinds = ["one of " + ", ".join(json.dumps(value, ensure_ascii=False) for value in values)]
    elif values:
        kinds = list(dict.fromkeys(KINDS[type(value)] for value in values))
    description, missing, words = described.get("description", "").rpartition(MISSING)
    if not missing:
        description, words = words, ""
    return {"name": name, "types": " or ".join(kinds), "description": description, "missing": (missing + words).strip()}
