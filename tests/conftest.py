"""What every test can rely on: one thread, no network, no user caches, real data or a reason."""

from __future__ import annotations

import os
import shutil
import socket
import tempfile
from pathlib import Path
from typing import Any

import pytest

# Before anything imports torch, numpy or datasets: they read these once. Children inherit them.
for _name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS"):
    os.environ[_name] = "1"
os.environ.update(
    TOKENIZERS_PARALLELISM="false",
    MPLBACKEND="Agg",
    HF_HUB_OFFLINE="1",
    HF_DATASETS_OFFLINE="1",
    HF_HUB_DISABLE_TELEMETRY="1",
)

_LOOPBACK = ("127.", "localhost", "::1", "0.0.0.0")
_connect = socket.socket.connect


def _connect_at_home_only(self: socket.socket, address: Any) -> None:
    if isinstance(address, tuple) and not str(address[0]).startswith(_LOOPBACK):
        raise RuntimeError(f"a test tried to reach {address}; tests use no network")
    _connect(self, address)


def pytest_configure(config: pytest.Config) -> None:
    socket.socket.connect = _connect_at_home_only  # type: ignore[method-assign, assignment]
    if not hasattr(config, "workerinput"):  # a worker inherits its controller's folder
        os.environ["HF_HOME"] = tempfile.mkdtemp(prefix="avsr_tests_hf_")


def pytest_unconfigure(config: pytest.Config) -> None:
    socket.socket.connect = _connect  # type: ignore[method-assign]
    if not hasattr(config, "workerinput"):
        shutil.rmtree(os.environ["HF_HOME"], ignore_errors=True)


def _why_no_data() -> str | None:
    folder = os.environ.get("AVSR_DATA")
    if not folder:
        return "AVSR_DATA is not set: it names the folder of real data"
    if not Path(folder).is_dir():
        return f"AVSR_DATA={folder} is not a folder"
    return None


def _why_no_gpu() -> str | None:
    import torch

    return None if torch.cuda.is_available() else "torch sees no CUDA device"


def _why_no_browser() -> str | None:
    names = ("chromium", "chromium-browser", "google-chrome", "firefox")
    return None if any(map(shutil.which, names)) else f"none of {', '.join(names)} is on PATH"


_NEEDS = {"real_data": _why_no_data, "gpu": _why_no_gpu, "browser": _why_no_browser}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    reasons: dict[str, str | None] = {}
    for item in items:
        for marker, why_not in _NEEDS.items():
            if item.get_closest_marker(marker) is None:
                continue
            if marker not in reasons:
                reasons[marker] = why_not()
            if reasons[marker] is not None:
                item.add_marker(pytest.mark.skip(reason=f"{marker}: {reasons[marker]}"))


@pytest.fixture(scope="session")
def avsr_data() -> Path:
    """The folder of real data that the environment variable AVSR_DATA names."""
    reason = _why_no_data()
    if reason is not None:
        pytest.skip(f"real_data: {reason}")
    return Path(os.environ["AVSR_DATA"]).resolve()


@pytest.fixture(scope="session")
def repository() -> Path:
    """The root of the checkout."""
    return Path(__file__).resolve().parent.parent
