"""What every test needs: one thread a process, a result store of its own, no GPU unless there is one."""

import os

# Before anything imports torch: the tests run on several processes, each of which is to use one core.
for _name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[_name] = "1"

import pytest  # noqa: E402


@pytest.fixture(autouse=True)
def store_of_its_own(tmp_path_factory, monkeypatch):
    """No test finds or leaves results in the repository."""
    monkeypatch.setenv("MASKBENCH_STORE", str(tmp_path_factory.mktemp("store")))


def pytest_collection_modifyitems(items):
    """Skips the tests marked `gpu` where there is no device."""
    marked = [item for item in items if item.get_closest_marker("gpu")]
    if marked:
        import torch

        if not torch.cuda.is_available():
            for item in marked:
                item.add_marker(pytest.mark.skip(reason="needs a CUDA device; there is none"))
