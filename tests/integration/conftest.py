"""A cluster for the tests that need one."""

from __future__ import annotations

import pytest

from tests.support import cluster


@pytest.fixture(scope="session")
def slurm(tmp_path_factory):
    """A running Slurm; gives the folder of its logs."""
    reason = cluster.why_not()
    if reason:
        pytest.skip(f"no Slurm: {reason}")
    with cluster.running(tmp_path_factory.mktemp("slurm")) as logs:
        yield logs
