"""The explorer of class maps as part of the page: its payload, module and style stand in the page itself."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from niny.errors import NinyError
from niny.report.study import REFERENCE, Study

HERE = Path(__file__).parents[1] / "explorer"
VERSION = 1  # of the payload that explorer.js reads


@dataclass(frozen=True)
class Explorer:
    """`payload` is JSON that is safe inside a script element; it holds so many test images, and epochs of some."""

    payload: str
    images: int
    epochs: int
    file: str
    command: str
    origin: str

    @property
    def module(self) -> str:
        return (HERE / "explorer.js").read_text(encoding="utf-8")

    @property
    def css(self) -> str:
        return (HERE / "explorer.css").read_text(encoding="utf-8")


def explorer_command(study: Study) -> str:
    return f"dvc repro explorer@{study.scale.name}-{REFERENCE}"


def load_explorer(study: Study, origin: str) -> Explorer | None:
    """What was made for the reference experiment, or None. Raises NinyError where its file is damaged."""
    file = f"explorer/{REFERENCE}.json"
    if not (study.folder / file).is_file():
        return None
    payload = read_payload(study.folder / file)
    epochs = len((payload.get("epochs") or {"epoch": ()})["epoch"])
    return Explorer(embedded(payload), len(payload["images"]), epochs, file, explorer_command(study), origin)


def read_payload(path: Path) -> dict[str, Any]:
    try:
        payload = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise NinyError(f"{path} is damaged ({error}): delete it and make it again") from error
    if not isinstance(payload, dict) or payload.get("version") != VERSION or not payload.get("images"):
        raise NinyError(f"{path} is no explorer payload of version {VERSION}: delete it and make it again")
    return payload


def embedded(payload: dict[str, Any]) -> str:
    """JSON without any <, so that no string in it can end the script element around it."""
    return json.dumps(payload, separators=(",", ":")).replace("<", "\\u003c")
