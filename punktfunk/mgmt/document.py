"""The OpenAPI document as it is committed, made from an application without a host."""

from __future__ import annotations

import json

from punktfunk.mgmt.app import create_app
from punktfunk.mgmt.openapi import document


def document_text() -> str:
    """Return the document as it is committed (``docs/api/openapi.json``)."""
    return json.dumps(document(create_app()), indent=2, ensure_ascii=False) + "\n"
