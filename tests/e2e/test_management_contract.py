"""The API of a live host against its own description: schemathesis sends what the document allows and does not."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import hypothesis
import pytest
import schemathesis
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    ignored_auth,
    negative_data_rejection,
    response_schema_conformance,
    status_code_conformance,
    unsupported_method,
)

REPOSITORY = Path(__file__).parents[2]
DOCUMENT = json.loads((REPOSITORY / "docs" / "api" / "openapi.json").read_text())
STREAMS = "/api/v1/events"
"""Its answer has no end."""

schema = schemathesis.pytest.from_fixture("operations").exclude(path=STREAMS)
"""Read where it is tested, each operation a subtest: as parameters they took each process of the suite a second of CPU
to collect, and since all of them had one name, pytest-xdist ran one of 26."""


@pytest.fixture
def operations(request: pytest.FixtureRequest) -> Any:
    """The API as its description has it."""
    # Schemathesis 4.32 names each operation in the node, by an attribute that nodes of pytest 9.2 have no more.
    request.node._nodeid = request.node.nodeid
    return schemathesis.openapi.from_dict(DOCUMENT)


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """A host of its own process; where its API is, and the token."""
    state = tmp_path_factory.mktemp("live") / "host"
    serve = "serve --bind 127.0.0.1 --native-port 0 --source synthetic --no-mdns --mgmt-bind 127.0.0.1:0"
    process = subprocess.Popen(
        [sys.executable, "-m", "punktfunk", *serve.split(), "--state-dir", str(state)],
        cwd=REPOSITORY,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith("next"):
            break
    yield (state / "mgmt-url").read_text().strip(), (state / "mgmt-token").read_text().strip()
    process.terminate()
    assert process.wait(30) == 0


@schema.parametrize()
@hypothesis.settings(
    max_examples=12,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(hypothesis.HealthCheck),
)
def test_an_operation_answers_as_the_document_says(case: schemathesis.Case, live: tuple[str, str]) -> None:
    url, token = live
    case.call_and_validate(
        base_url=url,
        # A request to another host is refused by the gate, whatever else is in it: tests/security has those.
        headers={"Authorization": f"Bearer {token}", "Host": url.partition("://")[2].partition("/")[0]},
        checks=[
            not_a_server_error,
            status_code_conformance,
            content_type_conformance,
            response_schema_conformance,
            negative_data_rejection,
            unsupported_method,
            ignored_auth,
        ],
    )
