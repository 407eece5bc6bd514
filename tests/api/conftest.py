"""The machine-readable reference of the provider API, if it is there."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

REFERENCE = Path(os.environ.get("RDPPROV_REFERENCE", Path(__file__).resolve().parents[3] / "shared" / "reference"))


@pytest.fixture(scope="session")
def reference() -> dict[str, Any]:
    """`provider_api.json`: interfaces, structures, enumerations and constants as Microsoft publishes them."""
    path = REFERENCE / "provider_api.json"
    if not path.exists():
        if os.environ.get("RDPPROV_REQUIRE_PEERS"):
            pytest.fail(f"the reference {path} is required here and missing")
        pytest.skip(f"the reference {path} is absent")
    return dict(json.loads(path.read_text()))
