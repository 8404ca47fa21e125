"""Pages in a real browser: what they ask for, what they complain of, and what they show."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page, ViewportSize

NAMES = ("chromium", "chromium-browser", "google-chrome")
QUIET = (  # nothing of the browser's own may look like a request of the page
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
PHONE: "ViewportSize" = {"width": 390, "height": 844}
DESK: "ViewportSize" = {"width": 1280, "height": 900}
UNLOADED = "[...document.images].filter((image) => !image.complete || !image.naturalWidth).length"
OVERHANG = "document.documentElement.scrollWidth - document.documentElement.clientWidth"


@dataclass(frozen=True)
class Visit:
    """`asked` are the addresses a page asked for beyond those inside it, `complaints` what its console said."""

    page: "Page"
    asked: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)

    def open(self, path: Path) -> "Visit":
        """Open a page from disk; what was noted of the one before is forgotten."""
        self.page.goto("about:blank")
        self.asked.clear()
        self.complaints.clear()
        self.page.goto(path.as_uri())
        return self

    def texts(self, selector: str) -> list[str]:
        return self.page.locator(selector).all_inner_texts()

    def status(self) -> str:
        return self.page.locator(".status").inner_text()

    def wrong(self) -> list[str]:
        """What no page of ours may have: requests, complaints, images that do not load, a need to scroll sideways."""
        outside = [one for one in self.asked if one != self.page.url and not one.startswith("data:")]
        wrong = [f"asks for {address}" for address in outside] + [f"says {text}" for text in self.complaints]
        if unloaded := self.page.evaluate(UNLOADED):
            wrong.append(f"{unloaded} images do not load")
        if (overhang := self.page.evaluate(OVERHANG)) > 0:
            wrong.append(f"is {overhang} pixels wider than its window")
        return wrong


@contextmanager
def chromium() -> Iterator["Browser"]:
    """The system's Chromium; skips where it or playwright is absent."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    program = next(filter(None, map(shutil.which, NAMES)), None)
    if program is None:
        pytest.skip(f"no browser here: none of {', '.join(NAMES)} is installed")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=[*QUIET])
        yield browser
        browser.close()


@contextmanager
def visits(browser: "Browser", **settings: Any) -> Iterator[Visit]:
    """A window for pages one after another; `settings` are those of playwright's contexts."""
    with browser.new_context(viewport=DESK, **settings) as context:
        seen = Visit(context.new_page())
        seen.page.set_default_timeout(10_000)
        seen.page.on("request", lambda request: seen.asked.append(request.url))
        seen.page.on("console", lambda message: seen.complaints.append(message.text))
        seen.page.on("pageerror", lambda error: seen.complaints.append(str(error)))
        yield seen
