"""The explorer in JupyterLab in a real browser: the notebook is run, the widget clicked, a file dropped on it."""

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from browser import chromium
from conftest import ROOT
from PIL import Image
from test_explorer import NAME, SCALE, keep

from niny.config import Params
from niny.explorer.payload import target

SERVER = ["--no-browser", "--allow-root", "--port=0", "--ServerApp.token=niny", "--LabApp.expose_app_in_browser=True"]
SECONDS = 60  # that anything may take


@pytest.fixture
def browser() -> Iterator[Any]:
    """Chromium; asked for first, so that nothing is started where there is none."""
    with chromium() as program:
        yield program


@pytest.fixture
def notebook(browser: Any, project: Path, params: Params) -> Path:
    """The notebook in a project that keeps a network of the smoke scale; it is that scale's network that it opens."""
    keep(project, params)
    path = project / "notebooks" / "08-explore.ipynb"
    path.parent.mkdir()
    path.write_text((ROOT / "notebooks" / path.name).read_text().replace('= \\"demo\\"', '= \\"smoke\\"'))
    return path


@pytest.fixture
def lab(notebook: Path, tmp_path: Path) -> Iterator[str]:
    """The address of the notebook in a JupyterLab that knows nothing of the user's."""
    folders = {f"JUPYTER_{kind}_DIR": str(tmp_path / f"jupyter-{kind}") for kind in ("RUNTIME", "CONFIG", "DATA")}
    path = os.pathsep.join([str(ROOT / "src"), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, **folders, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
    words = [sys.executable, "-m", "jupyterlab", *SERVER, f"--ServerApp.root_dir={notebook.parents[1]}"]
    with (tmp_path / "lab.log").open("w") as log:
        server = subprocess.Popen(words, env=environment, stdout=log, stderr=log, cwd=notebook.parents[1])
    try:
        yield f"{address(tmp_path, server)}lab/tree/notebooks/{notebook.name}?token=niny"
    finally:
        server.terminate()
        server.wait(30)


def address(folder: Path, server: subprocess.Popen[bytes]) -> str:
    """Where the server says that it listens."""
    for _ in range(10 * SECONDS):
        for file in (folder / "jupyter-RUNTIME").glob("jpserver-*.json"):
            if (text := file.read_text()).endswith("}"):
                return str(json.loads(text)["url"])
        assert server.poll() is None, (folder / "lab.log").read_text()
        time.sleep(0.1)
    raise AssertionError((folder / "lab.log").read_text())


@pytest.fixture
def page(browser: Any, lab: str) -> Any:
    """The notebook, opened; no request may leave the machine."""
    page = browser.new_page(viewport={"width": 1400, "height": 1400})
    page.set_default_timeout(1000 * SECONDS)
    page.route(lambda url: not re.match(r"\w+://(localhost|127\.0\.0\.1)[:/]", url), lambda route: route.abort())
    page.goto(lab)
    return page


READY = "() => window.jupyterapp?.shell?.currentWidget?.sessionContext?.session?.kernel?.status === 'idle'"
SAYS = "(words) => document.querySelector('.niny-explorer [role=status]').innerText.includes(words)"
DROP = """([element, bytes]) => {
  const files = new DataTransfer();
  files.items.add(new File([new Uint8Array(bytes)], "mine.png", { type: "image/png" }));
  element.dispatchEvent(new DragEvent("drop", { dataTransfer: files, bubbles: true, cancelable: true }));
}"""


def indices(folder: Path) -> list[int]:
    """The test images that need no network to be shown."""
    return [image["index"] for image in json.loads(target(folder, SCALE, NAME).read_text())["images"]]


def test_the_explorer_works_in_jupyterlab_without_internet(page: Any, tmp_path: Path) -> None:
    page.wait_for_function(READY)
    page.evaluate("window.jupyterapp.commands.execute('notebook:run-all-cells')")
    explorer = page.locator(".niny-explorer")
    explorer.wait_for()
    explorer.scroll_into_view_if_needed()
    assert "NIN + dropout, smoke scale" in explorer.inner_text()
    assert explorer.locator("figure.map").count() == 10

    shown = explorer.locator(".picture figcaption").inner_text()
    explorer.get_by_role("listbox", name="Test images").get_by_role("option").nth(4).click()
    assert explorer.locator(".picture figcaption").inner_text() != shown

    missing = next(i for i in range(360) if i not in indices(tmp_path))
    explorer.get_by_role("spinbutton").fill(str(missing))
    explorer.get_by_role("button", name="Show").click()
    page.wait_for_function(SAYS, arg=f"Test image {missing}:")

    Image.new("RGB", (40, 30), (200, 30, 20)).save(tmp_path / "mine.png")
    page.evaluate(DROP, [explorer.element_handle(), [*(tmp_path / "mine.png").read_bytes()]])
    page.wait_for_function(SAYS, arg="mine.png: seen as")
    assert explorer.locator("figure.map canvas").count() == 10

    page.evaluate(DROP, [explorer.element_handle(), [1, 2, 3]])
    page.wait_for_function(SAYS, arg="no image")
    if folder := os.environ.get("NINY_SHOTS"):
        page.screenshot(path=Path(folder) / "explorer-lab.png")
