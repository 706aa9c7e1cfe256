"""Software bills of materials in CycloneDX: of what any wheel contains, and of a release.

The first is committed, and goes into every wheel (PEP 770): it names no time, no machine and no toolchain, so that
two builds agree. The second adds the files of a release, their sums, Rust's standard library, and what pip
installs beside the wheel.
"""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from cyclonedx.model import HashAlgorithm, HashType, Property
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentScope, ComponentType
from cyclonedx.model.license import LicenseExpression
from cyclonedx.output.json import JsonV1Dot7
from packageurl import PackageURL
from packaging.metadata import Metadata
from packaging.requirements import Requirement

from tests.packaging.release.crates import Crate

PAGE: Final = Path("docs") / "reference" / "punktfunk-core.cdx.json"
_NAMESPACE: Final = uuid.uuid5(uuid.NAMESPACE_DNS, "punktfunk")
_MODULE: Final = "punktfunk-core-python"
_STANDARD_LIBRARY: Final = "MIT OR Apache-2.0"


def of_wheels(crates: Sequence[Crate], version: str, licence: str) -> str:
    """Return the bill of what every wheel contains: the crates of its module, and which links which."""
    bom = Bom()
    bom.metadata.component = _punktfunk(version, licence)
    _add_crates(bom, crates, bom.metadata.component)
    return _json(bom)


def of_release(
    crates: Sequence[Crate], metadata: Metadata, files: Iterable[Path], *, rustc: str, made: datetime
) -> str:
    """Return the bill of a release of these files (wheel, source archive), compiled by ``rustc`` (its version).

    ``metadata`` is the wheel's own. ``made`` is what the bill says of its time; it and the content give it its number,
    so that the same release has the same bill.
    """
    bom = Bom()
    licence = metadata.license_expression or ""
    root = bom.metadata.component = _punktfunk(str(metadata.version), licence)
    root.components.update(
        Component(type=ComponentType.FILE, name=path.name, bom_ref=path.name, hashes=[_sha256(_sum(path))])
        for path in files
    )
    _add_crates(bom, crates, root)
    standard = Component(
        type=ComponentType.LIBRARY,
        name="rust-std",
        version=rustc,
        description="Rust's standard library, linked statically",
        bom_ref=f"rust-std@{rustc}",
        scope=ComponentScope.REQUIRED,
        licenses=[LicenseExpression(_STANDARD_LIBRARY)],
    )
    bom.components.add(standard)
    beside = [_beside(requirement) for requirement in metadata.requires_dist or []]
    bom.components.update(beside)
    bom.register_dependency(root, [standard, *beside])
    return _json(bom, made)


def _punktfunk(version: str, licence: str) -> Component:
    purl = PackageURL("pypi", None, "punktfunk", version)
    return Component(
        type=ComponentType.APPLICATION,
        name="punktfunk",
        version=version,
        purl=purl,
        bom_ref=str(purl),
        licenses=[LicenseExpression(licence)],
    )


def _add_crates(bom: Bom, crates: Iterable[Crate], root: Component) -> None:
    components = {crate.key: _crate(crate) for crate in crates}
    bom.components.update(components.values())
    for crate in crates:
        bom.register_dependency(components[crate.key], [components[key] for key in crate.needs])
        if crate.name == _MODULE:
            bom.register_dependency(root, [components[crate.key]])


def _crate(crate: Crate) -> Component:
    purl = PackageURL("cargo", None, crate.name, crate.version)
    return Component(
        type=ComponentType.LIBRARY,
        name=crate.name,
        version=crate.version,
        # Those of the workspace are in no registry, where somebody else's crate may have their name.
        purl=None if crate.ours else purl,
        bom_ref=crate.key if crate.ours else str(purl),
        scope=ComponentScope.REQUIRED,
        hashes=[] if crate.ours else [_sha256(crate.sha256)],
        licenses=[LicenseExpression(crate.licence)],
    )


def _beside(requirement: Requirement) -> Component:
    """Return a package that pip installs beside the wheel: in none of its files, and in which version pip decides."""
    purl = PackageURL("pypi", None, requirement.name.lower())
    extra = "extra ==" in str(requirement.marker or "")
    return Component(
        type=ComponentType.LIBRARY,
        name=requirement.name,
        purl=purl,
        bom_ref=f"{purl}#{hashlib.sha256(str(requirement).encode()).hexdigest()[:8]}",
        scope=ComponentScope.OPTIONAL if extra else ComponentScope.REQUIRED,
        is_external=True,
        properties=[Property(name="punktfunk:requires", value=str(requirement))],
    )


def _sha256(value: str) -> HashType:
    return HashType(alg=HashAlgorithm.SHA_256, content=value)


def _sum(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _json(bom: Bom, made: datetime | None = None) -> str:
    """Return the document without what the library draws and reads by itself: a random number and the time."""
    document: dict[str, Any] = json.loads(JsonV1Dot7(bom).output_as_string())
    del document["serialNumber"], document["metadata"]["timestamp"]
    if made is not None:
        document["metadata"]["timestamp"] = made.astimezone(UTC).isoformat().replace("+00:00", "Z")
        content = json.dumps(document, sort_keys=True)
        document["serialNumber"] = f"urn:uuid:{uuid.uuid5(_NAMESPACE, content)}"
    return json.dumps(document, indent=1, sort_keys=True) + "\n"
