"""What the tests of the workflow share."""

from __future__ import annotations

import pytest

from tests.support.checkout import Checkout, make_checkout, write_meshes


@pytest.fixture(scope="session")
def finished(tmp_path_factory, project) -> Checkout:
    """A checkout in which everything has been made once."""
    checkout = make_checkout(tmp_path_factory.mktemp("finished"), project, workers=2)
    write_meshes(checkout.path / "meshes")
    checkout.snakemake("report")
    return checkout
