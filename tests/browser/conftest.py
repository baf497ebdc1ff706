"""A real browser without any network, and pages opened in it with ears for whatever goes wrong."""

import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

FLAGS = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--mute-audio"]
SIZES = {"wide": {"width": 1280, "height": 900}, "narrow": {"width": 390, "height": 844}}


@dataclass
class Opened:
    """A page in the browser; `complaints` of its console and `requests` beyond the file itself should stay empty."""

    page: Any
    complaints: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)

    def wait(self, condition: str, seconds: float = 20) -> None:
        """Until a JavaScript expression is true; asked again and again, since the page's policy allows no eval."""
        end = time.monotonic() + seconds
        while not self.value(condition):
            assert time.monotonic() < end, f"{condition} did not come true within {seconds} s"
            self.page.wait_for_timeout(20)

    def value(self, expression: str) -> Any:
        """What a JavaScript expression gives."""
        return self.page.evaluate(expression)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Chromium; the tests are skipped where Playwright or a browser is not installed.

    One a module: while it is open, an event loop runs in this thread, and no test of another folder could start one.
    """
    path = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if path is None:
        pytest.skip("no browser: install Chromium (apt-get install chromium) to test the pages in one")
    api = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed: pip install 'ssast[dev]'")
    with api.sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=path, args=FLAGS)
        yield chromium
        chromium.close()


@pytest.fixture
def opened(browser: Any) -> Callable[..., Any]:
    """`with opened(path, "narrow") as it:` opens a file as a double click would, offline; checks it at the end."""

    @contextmanager
    def within(path: Path, size: str = "wide") -> Iterator[Opened]:
        context = browser.new_context(viewport=SIZES[size], offline=True)
        it = Opened(context.new_page())
        address = path.resolve().as_uri()

        def answer(route: Any) -> None:
            if route.request.url.partition("#")[0] == address:
                route.continue_()
            else:
                it.requests.append(route.request.url[:80])
                route.abort()

        it.page.route("**/*", answer)
        it.page.on("request", lambda request: it.requests.extend(_foreign(request.url, address)))
        it.page.on("console", lambda message: it.complaints.append(f"{message.type}: {message.text}"))
        it.page.on("pageerror", lambda error: it.complaints.append(str(error)))
        it.page.goto(address)
        yield it
        assert it.complaints == []
        assert it.requests == []
        context.close()

    return within


def _foreign(url: str, address: str) -> list[str]:
    """The address of a request that is neither the page nor held in it."""
    own = url.partition("#")[0] == address or url.startswith(("data:", "blob:"))
    return [] if own else [url[:80]]
