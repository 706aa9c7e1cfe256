"""The API's own description: the OpenAPI 3.1 document, and a page that lists its operations."""

from __future__ import annotations

import html
import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fastapi import FastAPI

API_VERSION = "1.0"
"""Version of the API, not of the program: the document does not depend on the machine that it is made on."""

_OPEN_OPERATIONS = frozenset({"getHealth"})
_VALIDATION_SCHEMAS = ("HTTPValidationError", "ValidationError")


def document(app: FastAPI) -> dict[str, Any]:
    """Return the document of an application, as it is served and committed."""
    made = app.openapi()
    components = made.setdefault("components", {})
    components["securitySchemes"] = {"bearer": {"type": "http", "scheme": "bearer"}}
    for operations in made["paths"].values():
        for operation in operations.values():
            responses = operation["responses"]
            # FastAPI adds its own 422 to whatever takes a parameter; ours are named where they can happen.
            if "HTTPValidationError" in json.dumps(responses.get("422", {})):
                del responses["422"]
            operation["security"] = [] if operation["operationId"] in _OPEN_OPERATIONS else [{"bearer": []}]
    for name in _VALIDATION_SCHEMAS:
        components.get("schemas", {}).pop(name, None)
    return made


def page(made: dict[str, Any]) -> str:
    """Return a page that lists the operations of a document."""
    rows = [
        _row(method, path, operation)
        for path, operations in made["paths"].items()
        for method, operation in operations.items()
    ]
    return _PAGE.format(title=html.escape(made["info"]["title"]), rows="\n".join(rows))


def _row(method: str, path: str, operation: dict[str, Any]) -> str:
    codes = " ".join(sorted(operation["responses"]))
    lock = "" if operation["security"] else " (open)"
    cells = (
        f"{method.upper()} {path}{lock}",
        operation["operationId"],
        operation.get("description", ""),
        codes,
    )
    return "<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in cells) + "</tr>"


_PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>{title}</title>
<link rel="stylesheet" href="/api/docs.css">
<h1>{title}</h1>
<p>Requests carry <code>Authorization: Bearer TOKEN</code>; the token is in the host's state folder.
Errors are <code>{{"error": "text"}}</code>. The whole description: <a href="/api/v1/openapi.json">openapi.json</a>.</p>
<table>
<thead><tr><th>Operation</th><th>Name</th><th>What it does</th><th>Answers</th></tr></thead>
<tbody>
{rows}
</tbody>
</table>
</html>
"""

STYLE = """:root { color-scheme: light dark; font: 15px/1.5 system-ui, sans-serif; }
body { margin: 2rem auto; max-width: 70rem; padding: 0 1rem; }
table { border-collapse: collapse; width: 100%; }
td, th { text-align: left; vertical-align: top; padding: .4rem .8rem .4rem 0; border-bottom: 1px solid #8884; }
td:first-child { font-family: ui-monospace, monospace; white-space: nowrap; }
"""
