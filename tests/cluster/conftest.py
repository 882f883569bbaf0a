"""A cluster of two workers for the tests of a module."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.dask_cluster import DaskProcesses
from workflows.cluster.dask_cluster import DaskCluster
from workflows.engine import item_places


@pytest.fixture(scope="module")
def dask(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DaskProcesses]:
    """Start a scheduler and two workers."""
    pytest.importorskip("distributed", reason="a cluster needs requirements-dask.txt")
    processes = DaskProcesses(tmp_path_factory.mktemp("dask"))
    try:
        processes.start_worker()
        processes.start_worker()
        yield processes
    finally:
        processes.stop()


@pytest.fixture
def cluster(dask: DaskProcesses) -> Iterator[DaskCluster]:
    """Run the items of this process on the cluster."""
    connected = DaskCluster(dask.address)
    item_places.use_cluster(connected)
    yield connected
    item_places.use_cluster(None)
    connected.close()
