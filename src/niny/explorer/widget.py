"""`Explorer`: the explorer in a notebook, with its network running behind it."""

from pathlib import Path
from typing import Any

import anywidget
import traitlets

from niny.config import home, load_params
from niny.errors import NinyError
from niny.explorer.live import Live
from niny.explorer.payload import kept_payload, payload_of, recorded, target
from niny.inference import Model
from niny.report.study import REFERENCE

HERE = Path(__file__).parent


class Explorer(anywidget.AnyWidget):
    """Class maps of a network to look into: `Explorer(scale="short")`, or `Explorer(niny.load(...))` for any weights.

    `experiment` and `scale` name a recorded run (that of the paper's network where no experiment is named); its payload
    is taken from results/<scale>/explorer/ where it is one of these weights, and made otherwise, which takes seconds to
    a minute. Raises NinyError for unknown names, a network without class maps, and where weights or data are missing.
    """

    _esm = HERE / "explorer.js"
    _css = HERE / "explorer.css"
    payload = traitlets.Dict().tag(sync=True)
    live = traitlets.Bool(True).tag(sync=True)

    def __init__(self, model: Model | None = None, *, scale: str | None = None, experiment: str | None = None) -> None:
        if (model is None) == (scale is None) or (model is not None and experiment is not None):
            raise NinyError("an explorer shows either a model or the network of an experiment at a scale: name one")
        if scale is None:
            assert model is not None
            payload = payload_of(model)
        else:
            model, payload = _of_record(scale, experiment or REFERENCE)
        self.network = Live(model)
        super().__init__(payload=payload, live=True)
        self.on_msg(self._answer)

    def _answer(self, _: "Explorer", message: Any, buffers: list[memoryview]) -> None:
        self.send(self.network.answer(message))

    def __repr__(self) -> str:
        images, classes = len(self.payload["images"]), len(self.payload["classes"])
        return f"Explorer of {self.payload['title']}: {images} images of {self.payload['data']}, {classes} classes"


def _of_record(scale: str, experiment: str) -> tuple[Model, dict[str, Any]]:
    model, record = recorded(load_params(home()), scale, experiment, home())
    return model, kept_payload(target(home(), scale, experiment), model) or payload_of(model, record)
