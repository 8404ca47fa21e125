"""What `niny predict` prints: an answer for each image, an error line for each that could not be read."""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from niny.errors import NinyError
from niny.inference.loading import load
from niny.inference.model import Answer
from niny.inference.pictures import check_target, draw_answers
from niny.style import save_picture


def predict_files(
    images: Sequence[Path], weights: str, top: int, size: int | None, as_json: bool, maps: Path | None
) -> None:
    """Answer every image that can be read. Raises the last error at the end where one could not; the others are said.

    With `maps`, the answered images and their class maps are drawn there.
    """
    if top < 1:
        raise NinyError(f"--top {top}: at least 1")
    if maps is not None:
        check_target(maps, images)
    model = load(weights)
    said = list(zip(images, model.answers(images, size), strict=True))
    if text := json.dumps([_plain(path, one, top) for path, one in said], indent=1) if as_json else _text(said, top):
        print(text)
    answers = [answer for _, answer in said if isinstance(answer, Answer)]
    if maps is not None and answers:
        save_picture(draw_answers(answers, f"Class maps of {model.config['meta']['name']}", top), maps)
    for answer in answers:
        if answer.seen.note:
            print(f"niny: {answer.seen.name}: {answer.seen.note}", file=sys.stderr)
    _complain([answer for _, answer in said if isinstance(answer, NinyError)])


def _plain(path: Path, answer: Answer | NinyError, top: int) -> dict[str, Any]:
    if isinstance(answer, NinyError):
        return {"image": str(path), "error": str(answer)}
    note = {"note": answer.seen.note} if answer.seen.note else {}
    return {"image": str(path), "predictions": answer.ranked(top), **note}


def _text(said: Sequence[tuple[Path, Answer | NinyError]], top: int) -> str:
    blocks = []
    for path, answer in said:
        if isinstance(answer, Answer):
            lines = [f"  {one['label']:16} {one['probability']:6.1%}" for one in answer.ranked(top)]
            blocks.append("\n".join([str(path), *lines]))
    return "\n".join(blocks)


def _complain(errors: Sequence[NinyError]) -> None:
    for error in errors[:-1]:
        print(f"niny: {error}", file=sys.stderr)
    if errors:
        raise errors[-1]
