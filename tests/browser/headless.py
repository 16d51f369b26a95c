"""The headless Chromium that the browser tests drive, or the reason why there is none."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome")


def chromium_path() -> str:
    """Where it is; skips the test where it is not, or where playwright is missing."""
    pytest.importorskip("playwright.sync_api", reason="browser: no playwright package")
    path = next(filter(None, map(shutil.which, NAMES)), None)
    if path is None:
        pytest.skip("browser: no chromium on PATH; run scripts/install_browser.sh")
    return path


@contextmanager
def chromium(arguments: Sequence[str] = ()) -> Iterator[Any]:
    """A browser that was started with further arguments."""
    path = chromium_path()
    from playwright.sync_api import sync_playwright

    with sync_playwright() as running:
        # Containers run as root, where Chromium's sandbox refuses to start.
        opened = running.chromium.launch(executable_path=path, args=["--no-sandbox", *arguments])
        yield opened
        opened.close()
