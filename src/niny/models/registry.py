"""The weights that the repository keeps, by name: what there is, how good, and from which run.

A name is an experiment of params.yaml. Its weights are those of seed 0 at the best scale recorded: scales that count as
evidence first, then others that train the whole network on the experiment's own data. What `niny weights write` found
in the records stands in `results/<scale>/weights/index.json`, with the SHA-256 that a file must have to be loaded.
Names and calls follow torchvision: `list_weights()`, `get_weight(name)`, `NIN_CIFAR_Weights.CIFAR10_NIN`, `.meta`,
`.transforms()`.
"""

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from functools import cache
from pathlib import Path
from typing import Any

from torch import Tensor

from niny.config import Params, Scale, home, load_params, pick
from niny.errors import NinyError
from niny.models.weights import load_weights

INDEX = Path("weights", "index.json")
LICENCE = "MIT"


@dataclass(frozen=True)
class Weights:
    """Trained weights of one experiment. `meta` has experiment, scale, seed, test error, commit, licence, SHA-256."""

    name: str
    path: Path
    meta: Mapping[str, Any]

    def transforms(self) -> Callable[[Any], Tensor]:
        """The preprocessing of its training: any image -> float32 C x H x W. Raises NinyError where it is not kept."""
        from niny.data.transforms import transform_for

        return transform_for(self.meta["dataset"])

    def get_state_dict(self) -> dict[str, Tensor]:
        """The tensors, float32. Raises NinyError for a file that is not the recorded one, byte for byte."""
        check_digest(self.path, self.meta["sha256"])
        return load_weights(self.path)[0]


class WeightsEnum(Enum):
    """The experiments of one network. A member that no run has given weights says so when it is asked for them."""

    @property
    def weights(self) -> Weights:
        """The weights themselves. Raises NinyError, with the command that trains them, where none are kept."""
        return get_weight(self.value)

    @property
    def meta(self) -> Mapping[str, Any]:
        """As `Weights.meta`."""
        return self.weights.meta

    def transforms(self) -> Callable[[Any], Tensor]:
        """As `Weights.transforms`."""
        return self.weights.transforms()

    def get_state_dict(self) -> dict[str, Tensor]:
        """As `Weights.get_state_dict`."""
        return self.weights.get_state_dict()


def get_model_weights(net: str) -> type[WeightsEnum]:
    """The enum of a network, such as `nin_cifar`: a member for each experiment with it, DEFAULT for the first.

    Raises NinyError for a network without experiments.
    """
    experiments = load_params(home()).experiments.values()
    pick({e.net: None for e in experiments}, net, "network with weights")
    return _weights_enum(net, tuple(e.name for e in experiments if e.net == net))


@cache
def _weights_enum(net: str, names: tuple[str, ...]) -> type[WeightsEnum]:
    """Made once: members of an enum that is made anew would not equal each other."""
    members = {name.upper().replace("-", "_"): name for name in names}
    functional: Any = WeightsEnum  # called, an Enum without members makes a new one
    kind: type[WeightsEnum] = functional(f"{net.upper()}_Weights", members | {"DEFAULT": names[0]})
    return kind


def scales_by_rank(params: Params) -> list[Scale]:
    """Scales whose weights a bare name may mean, best first: whole networks on their own data, nothing held out."""
    return sorted(filter(goes_by_name, params.scales.values()), key=lambda scale: not scale.evidence)


def goes_by_name(scale: Scale) -> bool:
    return scale.width == 1.0 and scale.dataset is None and not scale.holdout


def list_weights() -> dict[str, Weights]:
    """All weights kept here by name, each at its best scale, in the order of params.yaml."""
    params, root = load_params(home()), home()
    found: dict[str, Weights] = {}
    for scale in scales_by_rank(params):
        for name, entry in read_index(root, scale.name).items():
            found.setdefault(name, Weights(name, root / entry["file"], entry))
    return {name: found[name] for name in params.experiments if name in found}


def get_weight(name: str) -> Weights:
    """The weights of that name, or of an enum's member ("NIN_CIFAR_Weights.DEFAULT").

    Raises NinyError for an unknown name, and for one that has no weights yet.
    """
    params = load_params(home())
    kind, _, member = name.rpartition(".")
    if kind.endswith("_Weights"):
        members = get_model_weights(kind.removesuffix("_Weights").lower()).__members__
        name = str(pick(members, member, "member").value)
    pick(params.experiments, name, "name of weights")
    if name in (kept := list_weights()):
        return kept[name]
    wide = [s.name for s in reversed(scales_by_rank(params)) if s.name in params.experiments[name].scales]
    if not wide:
        raise NinyError(f"no weights of {name} go by that name: name a file (niny.load({name!r}, weights=FILE))")
    scale = wide[0]
    train = f"niny train {name} --scale {scale}, then niny weights write --scale {scale}"
    raise NinyError(f"no weights of {name} are kept here: {train}; or name a file (niny.load({name!r}, weights=FILE))")


def read_index(root: Path, scale: str) -> dict[str, dict[str, Any]]:
    """What `niny weights write` recorded at a scale; nothing where it has not been run."""
    path = root / "results" / scale / INDEX
    try:
        index: dict[str, dict[str, Any]] = json.loads(path.read_text())
        if not isinstance(index, dict):
            raise ValueError("no index")
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise NinyError(f"{path} is damaged ({error}): run niny weights write --scale {scale}") from None
    return index


def check_digest(path: Path, expected: str) -> None:
    """Raise NinyError unless the file is there with this SHA-256."""
    try:
        found = sha256(path)
    except OSError as error:
        raise NinyError(f"cannot read {path}: {error.strerror}") from None
    if found != expected:
        raise NinyError(f"{path} is not the file that was recorded: SHA-256 {found[:12]}..., not {expected[:12]}...")


def sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
