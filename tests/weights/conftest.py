"""The third-party weights beside the checkout, which are not part of the project."""

from pathlib import Path

import pytest

SHARED = Path(__file__).parents[3] / "shared" / "weights"


@pytest.fixture(scope="session")
def shared_weights() -> Path:
    """The folder of third-party weights beside the checkout; skips where it is absent."""
    if not SHARED.is_dir():
        pytest.skip("third-party weights are not part of the project (../shared/weights)")
    return SHARED
