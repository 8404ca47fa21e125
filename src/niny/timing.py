"""How long each notebook takes as it opens, and the first picture it draws: what the tables of notebooks show.

No section of the paper is built here.

    notebooks/times.json        seconds from the start of the kernel to the last cell, and the machine
    notebooks/pictures/NAME.*   the first picture of each notebook that draws one
"""

import base64
import io
import tempfile
import time
from pathlib import Path
from typing import Any

from PIL import Image

from niny.errors import NinyError
from niny.files import replacing, write_json, write_text
from niny.notebooks import execute, read
from niny.training import choose_compute
from niny.training.record import describe_machine

WIDTH = 480  # pixels that are kept of a wider picture


def time_notebooks(root: Path) -> Path:
    """Run every source with its own parameters, from what `make study` left; the path of the times.

    Executed copies are thrown away. Raises NinyError where the study is not there or a notebook fails; then times and
    pictures stay as they were.
    """
    if not (root / "results" / "demo" / "report.html").is_file():
        raise NinyError("results/demo has no report: run make study first, the notebooks start from what it leaves")
    seconds = {}
    with tempfile.TemporaryDirectory() as scratch:
        for source in sorted((root / "notebooks").glob("*.ipynb")):
            started = time.monotonic()
            execute(source, Path(scratch) / source.name, {})
            seconds[source.stem] = round(time.monotonic() - started, 1)
        for copy in sorted(Path(scratch).glob("*.ipynb")):
            keep_picture(copy, root / "notebooks" / "pictures")
    path = root / "notebooks" / "times.json"
    write_json(path, {"seconds": seconds, "machine": describe_machine(choose_compute("cpu", "float32"))})
    return path


def keep_picture(executed: Path, folder: Path) -> None:
    """Write the first picture of an executed notebook to `folder`, in place of an older one; nothing if it has none."""
    cells = [cell for cell in read(executed).cells if cell.cell_type == "code"]
    drawn = [output.data for cell in cells for output in cell.outputs if "data" in output]
    shown = next((data for data in drawn if "image/svg+xml" in data or "image/png" in data), None)
    for old in folder.glob(f"{executed.stem}.*"):
        old.unlink()
    if shown is not None:
        write_picture(shown, folder / executed.stem)


def write_picture(data: dict[str, Any], path: Path) -> None:
    """SVG as it is, PNG no wider than WIDTH."""
    if "image/svg+xml" in data:
        write_text(path.with_suffix(".svg"), data["image/svg+xml"])
        return
    picture = Image.open(io.BytesIO(base64.b64decode(data["image/png"]))).convert("RGB")  # to scale takes true colours
    picture.thumbnail((WIDTH, 2 * WIDTH))
    with replacing(path.with_suffix(".png")) as part:
        picture.save(part, format="PNG", optimize=True)
