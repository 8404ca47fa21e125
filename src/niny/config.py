"""params.yaml as frozen dataclasses: the only place where a number of the study is set.

Reading is strict: an unknown name, a missing one, a wrong type or a doubled key is an error that names the file,
the key and what was expected. `params.yaml` is written by hand. `plan.json` is derived from it by `niny plan`: it
lists the stages for DVC, and carries the parameters as JSON for bare machines that have torch and numpy alone.
"""

import dataclasses
import hashlib
import json
import math
import os
import re
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, TypeVar

from niny.errors import NinyError
from niny.strict_yaml import load_yaml

T = TypeVar("T")

PARAMS = "params.yaml"
PLAN = "plan.json"
POSITIVE = {
    "batch",
    "channels",
    "classes",
    "evaluate_every",
    "gcn_scale",
    "grids",
    "lr",
    "probe_images",
    "seeds",
    "size",
    "subset",
    "version",
    "width",
}

MOST = {  # what no study asks for: it would fill memory, or never end; LARGEST for all that is not listed
    "channels": 16,
    "classes": 1000,
    "holdout": 60_000,
    "lr": 100,
    "root_seed": 2**63 - 1,
    "seeds": 1000,
    "size": 1024,
    "width": 16,
}
LARGEST = 1_000_000
ATTEMPTS = 3  # at a seed, while its network dies
STANDARD = ("paper", "cifar10-nin")  # scale and experiment by whose rates machines are compared
FILE_NAME = re.compile(r"[^./\\\x00-\x1f\x7f][^/\\\x00-\x1f\x7f]{0,79}")
Source = Literal["init", "order", "masks", "augmentation"]  # of chance in a run, each with random numbers of its own
SOURCES: tuple[Source, ...] = typing.get_args(Source)
Loss = Literal["cross_entropy", "binary_cross_entropy"]
Preprocessing = Literal["gcn_zca", "gcn_lcn", "mean", "mean_255", "unit"]  # niny.data.preprocess says what they are
FRACTIONS = frozenset({"dropout", "label_smoothing", "momentum", "subset"})
SETTLED: Mapping[str, Mapping[str, Any]] = {  # what a network has for good, where others have a choice
    "nin_cifar": {"norm_alpha": 1e-3},
    "nin_svhn": {"norm_alpha": 1e-3},
    "nin_mnist": {"norm_alpha": 1e-3},
    "cnn": {"dropout": 0.0, "pool2": "max", "batch_norm": False},
    "linear_cifar": {"batch_norm": False, "norm_alpha": 1e-3},
    "maxout": {
        "head": "gap",
        "dropout": 0.5,
        "pool2": "max",
        "final_relu": True,
        "batch_norm": False,
        "norm_alpha": 1e-3,
    },
}


@dataclass(frozen=True)
class DataSpec:
    """One data set as the study uses it, with the preprocessing fitted on its training images (paper section 4)."""

    name: str
    classes: int
    channels: int
    size: int  # pixels a side
    preprocessing: Preprocessing
    gcn_scale: float = 55.0
    zca_bias: float = 0.1


@dataclass(frozen=True)
class Recipe:
    """How a network is trained. `authors` is what the paper's authors ran; every other recipe is this study's own."""

    init: Literal["normal", "he", "centred"]
    lr: float
    phases: tuple[tuple[int, float], ...]  # (epochs, factor on lr) one after the other
    batch: int = 128
    momentum: float = 0.9
    weight_decay: float = 1e-4  # of weights; biases are never decayed
    init_std: float = 0.05  # of init "normal"
    init_std_of: tuple[tuple[str, float], ...] = ()  # (layer, a standard deviation of its own)
    bias_lr: float = 2.0  # factor on lr for biases
    last_layer_lr: float = 0.1  # factor on lr for the layer that makes the class maps
    schedule: Literal["steps", "one_cycle"] = "steps"
    warmup_epochs: float = 0.0  # over which lr rises from 0
    order: Literal["file", "shuffled"] = "shuffled"
    inverted_dropout: bool = True
    label_smoothing: float = 0.0
    loss: Loss = "cross_entropy"  # not for params.yaml: it is the experiment's, whatever recipe trains it

    @property
    def epochs(self) -> int:
        return sum(epochs for epochs, _ in self.phases)


@dataclass(frozen=True)
class Experiment:
    """One row of a table: data set, network, head, regularisers, recipe, and the scales it is run at."""

    name: str
    title: str
    dataset: str
    net: Literal["nin_cifar", "nin_svhn", "nin_mnist", "linear_cifar", "cnn", "maxout"]
    recipe: str
    scales: tuple[str, ...]
    head: Literal["gap", "fc", "fc_dropout"] = "gap"
    dropout: float = 0.5  # rate between the mlpconv layers; 0 is none
    pool2: Literal["max", "average"] = "max"
    final_relu: bool = True
    batch_norm: bool = False
    norm_alpha: float = 1e-3  # strength of the conventional CNN's response normalisation; 0 is none
    augment: bool = False
    loss: Loss = "cross_entropy"
    labels: Literal["true", "permuted"] = "true"  # of the training images; permuted, they say nothing of the image
    subset: float = 1.0  # share of the training images, the first; epochs are as much shorter, and looks as much rarer
    phases: tuple[tuple[int, float], ...] | None = None  # its own, at every scale
    varies: tuple[Source, ...] = SOURCES  # from run to run; the others are as in run 0
    keeps_weights: bool = True  # and has class maps; a run that only asks whether it learns at all has neither
    preprocessing: Preprocessing | None = None  # tried in place of the data set's, on held-out images alone

    def __post_init__(self) -> None:
        """Whatever order `varies` is written in, it says the same."""
        object.__setattr__(self, "varies", tuple(source for source in SOURCES if source in self.varies))

    @property
    def has_maps_of_its_own(self) -> bool:
        """Has it class maps to look at, and not those of another experiment, of which less varies from run to run?"""
        return self.keeps_weights and self.net != "maxout" and self.varies == SOURCES

    def is_part_of(self, whole: "Experiment") -> bool:
        """Is it `whole` but for what varies from run to run, which is less?"""
        twin = replace(self, name=whole.name, title=whole.title, scales=whole.scales, varies=SOURCES)
        return self.varies != SOURCES and twin == whole


@dataclass(frozen=True)
class Scale:
    """How far experiments are taken. What is None or absent here is left as the experiment has it."""

    name: str
    title: str
    evidence: bool  # may its numbers be held against the paper's?
    seeds: int
    evaluate_every: int  # epochs between two looks at train and test error
    probe_images: int  # training images on which the error without dropout masks is followed
    grids: int = 500  # of each size, on which class maps are scored; the dearer scores take images in proportion
    width: float = 1.0  # factor on the number of feature maps
    keep_records: bool = True  # does a finished run outlive a change of the code?
    holdout: int = 0  # last training images, kept from training and looked at in place of the test split
    dataset: str | None = None
    recipe: str | None = None
    phases: tuple[tuple[int, float], ...] | None = None


# settings that came later, as they were before: without them the records made then keep their identity
LATER = (
    ("experiment", "labels", "true"),
    ("experiment", "norm_alpha", 1e-3),
    ("experiment", "subset", 1.0),
    ("experiment", "varies", SOURCES),
    ("recipe", "init_std_of", ()),
)


@dataclass(frozen=True)
class Run:
    """An experiment at a scale, everything resolved: all that decides what a seed's training does."""

    scale: Scale
    experiment: Experiment
    data: DataSpec
    recipe: Recipe
    root_seed: int

    @cached_property
    def digest(self) -> str:
        """Identity of the training: sixteen hex digits over every setting that can change its result."""
        settings = dataclasses.asdict(self)
        for field in ("title", "seeds", "evidence", "keep_records", "grids"):
            settings["scale"].pop(field)
        settings["experiment"].pop("keeps_weights")
        for field in ("title", "scales", "phases", "loss", "preprocessing"):  # three are the recipe's and the data's
            settings["experiment"].pop(field, None)
        for part, field, usual in LATER:
            if settings[part][field] == usual:
                settings[part].pop(field)
        return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:16]

    @property
    def seeds(self) -> range:
        """Those of its scale. Where less varies, run 0 is that of the experiment in which everything does."""
        return range(0 if self.experiment.varies == SOURCES else 1, self.scale.seeds)

    @property
    def folder(self) -> Path:
        return Path("results", self.scale.name, "runs", self.experiment.name)


@dataclass(frozen=True)
class Params:
    """The whole of params.yaml."""

    root_seed: int
    datasets: Mapping[str, DataSpec]
    recipes: Mapping[str, Recipe]
    experiments: Mapping[str, Experiment]
    scales: Mapping[str, Scale]

    def scale(self, name: str) -> Scale:
        return pick(self.scales, name, "scale")

    def experiments_at(self, scale: str) -> list[Experiment]:
        """The experiments of a scale, in the order of params.yaml."""
        self.scale(scale)
        return [e for e in self.experiments.values() if scale in e.scales]

    def run(self, scale: str, experiment: str) -> Run:
        at, what = self.scale(scale), pick(self.experiments, experiment, "experiment")
        if scale not in what.scales:
            raise NinyError(
                f"experiment {experiment} is not run at scale {scale}: add {scale!r} to its scales in {PARAMS}, "
                f"or take one of {', '.join(what.scales)}"
            )
        recipe = replace(pick(self.recipes, at.recipe or what.recipe, "recipe"), loss=what.loss)
        if (phases := what.phases or at.phases) is not None:
            epochs = sum(epochs for epochs, _ in phases)
            recipe = replace(recipe, phases=phases if recipe.schedule == "steps" else ((epochs, 1.0),))
        at = replace(at, evaluate_every=round(at.evaluate_every / what.subset))
        data = pick(self.datasets, at.dataset or what.dataset, "data set")
        data = replace(data, preprocessing=what.preprocessing or data.preprocessing)
        return Run(at, what, data, recipe, self.root_seed)


def pick(options: Mapping[str, T], name: str, what: str) -> T:
    """The option of that name, or an error that lists the names there are."""
    if name not in options:
        raise NinyError(f"unknown {what} {name!r}: choose from {', '.join(options)}")
    return options[name]


def project_root() -> Path:
    """The folder that holds params.yaml: $NINY_ROOT, or the nearest one from the current folder upwards."""
    if named := os.environ.get("NINY_ROOT"):
        return Path(named).resolve()
    here = Path.cwd()
    for folder in (here, *here.parents):
        if (folder / PARAMS).is_file():
            return folder
    raise NinyError(f"no {PARAMS} in {here} or above it: run this inside a clone of the project, or set NINY_ROOT")


def home() -> Path:
    """Where the network's users look up names: the project around the current folder, else the clone we lie in."""
    try:
        return project_root()
    except NinyError:
        clone = Path(__file__).parents[2]
        if (clone / PARAMS).is_file():
            return clone
        raise


def load_params(root: Path | None = None) -> Params:
    """Read and check the project's parameters; without PyYAML (a bare machine) they come from plan.json."""
    folder = root or project_root()
    try:
        import yaml  # noqa: F401  (only to know whether it is there)
    except ImportError:
        return parse_params(_read_plan(folder / PLAN).get("params"), PLAN)
    return parse_params(load_yaml(folder / PARAMS), PARAMS)


def _read_plan(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise NinyError(f"cannot read {path}: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        raise NinyError(f"{path.name} is damaged ({error}): run niny plan") from None
    return content if isinstance(content, dict) else {}


def parse_params(raw: Any, where: str) -> Params:
    """Check a parsed params.yaml: every section, every entry, every cross reference."""
    sections = {"root_seed", "datasets", "recipes", "experiments", "scales"}
    _expect_mapping(raw, where)
    _expect_names(set(raw), sections, sections, where)
    root_seed = _value(raw["root_seed"], int, f"{where}: root_seed")
    _expect_size(root_seed, MOST["root_seed"], f"{where}: root_seed")
    params = Params(
        root_seed,
        _entries(DataSpec, raw["datasets"], f"{where}: datasets"),
        _entries(Recipe, raw["recipes"], f"{where}: recipes", loss="cross_entropy"),
        _entries(Experiment, raw["experiments"], f"{where}: experiments"),
        _entries(Scale, raw["scales"], f"{where}: scales"),
    )
    from niny.data.digests import NAMES  # here, since niny.data needs this module

    _expect_names(set(params.datasets), set(NAMES), set(), f"{where}: datasets")
    for name, recipe in params.recipes.items():
        _check_recipe(recipe, f"{where}: recipes.{name}")
    _check_references(params, where)
    return params


def _check_references(params: Params, where: str) -> None:
    for experiment in params.experiments.values():
        at = f"{where}: experiments.{experiment.name}"
        for field, options in (("dataset", params.datasets), ("recipe", params.recipes)):
            if getattr(experiment, field) not in options:  # checked even where every scale puts another in its place
                raise NinyError(f"{at}.{field}: unknown {field} {getattr(experiment, field)!r}")
        _check_choices(experiment, at)
        for scale in experiment.scales:
            if scale not in params.scales:
                raise NinyError(f"{at}.scales: unknown scale {scale!r}")
            try:
                run = params.run(scale, experiment.name)
                _check_recipe(run.recipe, "recipe")
                _check_varies(run)
                _check_trial(run)
                _check_whole(run, params)
            except NinyError as error:
                raise NinyError(f"{at} at scale {scale}: {error}") from None


def _check_recipe(recipe: Recipe, where: str) -> None:
    if not all(epochs for epochs, _ in recipe.phases):
        raise NinyError(f"{where}.phases: a phase of 0 epochs; leave it out")
    if recipe.init_std_of and recipe.init != "normal":
        raise NinyError(f"{where}.init_std_of: only init normal has standard deviations to choose")
    if recipe.schedule == "one_cycle" and (recipe.warmup_epochs or any(factor != 1 for _, factor in recipe.phases)):
        raise NinyError(f"{where}: one_cycle needs no warmup_epochs, and 1.0 as the factor of each phase")


def _check_choices(experiment: Experiment, at: str) -> None:
    """A choice that its network does not have would stand in tables as if it had been followed."""
    if experiment.dropout and not 1 / 256 <= experiment.dropout <= 255 / 256:  # masks are drawn from bytes
        raise NinyError(f"{at}.dropout: a rate from 1/256 to 255/256, or 0 for none")
    for field, value in SETTLED.get(experiment.net, {}).items():
        if getattr(experiment, field) != value:
            raise NinyError(f"{at}.{field}: net {experiment.net} has no such choice: expected {value!r}")


def _check_varies(run: Run) -> None:
    """What an experiment says to vary alone must be left to chance in it, else its runs would be copies."""
    masks = run.experiment.dropout > 0 or run.experiment.head == "fc_dropout" or run.experiment.net == "maxout"
    chance = {"order": run.recipe.order == "shuffled", "masks": masks, "augmentation": run.experiment.augment}
    fixed = [source for source in run.experiment.varies if not chance.get(source, True)]
    if fixed and run.experiment.varies != SOURCES:
        raise NinyError(f"varies: {fixed[0]} is not left to chance in this experiment")


def _check_whole(run: Run, params: Params) -> None:
    """Runs that differ by one source of chance are compared with runs that differ by all of them."""
    here = run.experiment
    if here.varies != SOURCES and not any(here.is_part_of(e) for e in params.experiments_at(run.scale.name)):
        raise NinyError("varies: no experiment there is the same without this entry, to compare it with; add one")


def _check_trial(run: Run) -> None:
    """What is predicted with a network is preprocessed as its data set is: another way is a trial, and stays one."""
    if run.experiment.preprocessing and not run.scale.holdout:
        raise NinyError(
            f"preprocessing: another than the data set's is tried on held-out images alone; "
            f"set what was chosen at datasets.{run.data.name}"
        )


def _entries(kind: type[T], raw: Any, where: str, **given: Any) -> dict[str, T]:
    _expect_mapping(raw, where)
    for name in raw:
        if not FILE_NAME.fullmatch(name):
            raise NinyError(
                f"{where}: {name!r:.60} names folders too: expected no slash, control character or first dot"
            )
    return {name: read(kind, entry, f"{where}.{name}", name=name, **given) for name, entry in raw.items()}


def read(kind: type[T], raw: Any, where: str, **given: Any) -> T:
    """Build the dataclass `kind` from a mapping; `given` fields are set by the caller and refused in the mapping."""
    _expect_mapping(raw, where)
    hints = typing.get_type_hints(kind)
    fields = {f.name: f for f in dataclasses.fields(kind) if f.init}  # type: ignore[arg-type]  # kind is a dataclass
    given = {name: value for name, value in given.items() if name in fields}
    required = {n for n, f in fields.items() if f.default is dataclasses.MISSING} - set(given)
    _expect_names(set(raw), set(fields) - set(given), required, where)
    values = {name: _value(value, hints[name], f"{where}.{name}") for name, value in raw.items()}
    if zero := sorted(name for name in POSITIVE & set(values) if values[name] == 0):
        raise NinyError(f"{where}.{zero[0]}: must be greater than 0")
    for name, value in values.items():
        _expect_size(value, MOST.get(name, LARGEST), f"{where}.{name}")
    if high := sorted(name for name in FRACTIONS & set(values) if values[name] >= 1):
        raise NinyError(f"{where}.{high[0]}: must be less than 1")
    return kind(**given, **values)


def _expect_mapping(raw: Any, where: str) -> None:
    if not isinstance(raw, dict) or not all(isinstance(key, str) for key in raw):
        raise NinyError(f"{where}: expected names with values, got {_short(raw)}")


def _expect_size(value: Any, most: float, where: str) -> None:
    if isinstance(value, tuple):
        for item in value:
            _expect_size(item, most, where)
    elif isinstance(value, (int, float)) and value > most:
        raise NinyError(f"{where}: must be at most {most:,}, got {value:.3g}")


def _expect_names(names: set[str], known: set[str], required: set[str], where: str) -> None:
    if unknown := sorted(names - known):
        raise NinyError(f"{where}: unknown name {unknown[0]!r}; known are {', '.join(sorted(known))}")
    if missing := sorted(required - names):
        raise NinyError(f"{where}: {missing[0]!r} is missing")


def _value(raw: Any, hint: Any, where: str) -> Any:
    """`raw` as the annotated type. No guessing: a bool is no int, a text is no number, 1 is a fine float."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is Literal:
        if raw in arguments and isinstance(raw, str):
            return raw
        raise NinyError(f"{where}: expected one of {', '.join(map(str, arguments))}, got {_short(raw)}")
    if origin in (types.UnionType, typing.Union):
        return None if raw is None else _value(raw, arguments[0], where)
    if origin is tuple:
        return _tuple(raw, arguments, where)
    if hint is float and type(raw) is int and abs(raw) <= LARGEST:
        raw = float(raw)
    if type(raw) is not hint or (hint is float and not math.isfinite(raw)):
        raise NinyError(f"{where}: expected {hint.__name__}, got {_short(raw)} ({type(raw).__name__})")
    if hint in (int, float) and raw < 0:
        raise NinyError(f"{where}: must not be negative, got {_short(raw)}")
    return raw


def _short(raw: Any) -> str:
    if type(raw) is int and abs(raw) > 10**30:  # Python refuses to write the longest
        return "a huge number"
    return f"{raw!r:.60}"


def _tuple(raw: Any, arguments: tuple[Any, ...], where: str) -> tuple[Any, ...]:
    repeated = arguments[-1] is Ellipsis
    if not isinstance(raw, (list, tuple)) or not raw or (not repeated and len(raw) != len(arguments)):
        count = "a list" if repeated else f"a list of {len(arguments)}"
        raise NinyError(f"{where}: expected {count}, got {_short(raw)}")
    kinds = [arguments[0]] * len(raw) if repeated else arguments
    return tuple(_value(item, kind, f"{where}[{i}]") for i, (item, kind) in enumerate(zip(raw, kinds, strict=True)))


def plan(params: Params) -> dict[str, Any]:
    """What DVC needs to lay out the stages: the scales in use, the data sets, one entry a run, those with class maps.

    Scales that hold images out serve choices; their runs never meet the test split, so no table is made of them.
    Comparing attributions takes minutes a network: scales that keep no records do it for their first network alone, and
    no scale does it for runs that repeat a network to see what makes them differ. An explorer is a megabyte: a scale
    keeps that of its first network, and others are made when they are opened. Maps stand beside those of the network
    that learnt permuted labels, whose scores are a dependency of the others (`null`).
    """
    in_use = [name for name, scale in params.scales.items() if params.experiments_at(name) and not scale.holdout]
    runs = {
        f"{scale}-{experiment.name}": {
            "scale": scale,
            "experiment": experiment.name,
            "dataset": params.run(scale, experiment.name).data.name,
            "recipe": params.scales[scale].recipe or experiment.recipe,
        }
        for scale in in_use
        for experiment in params.experiments_at(scale)
    }
    mapped = {key: run for key, run in runs.items() if params.experiments[run["experiment"]].has_maps_of_its_own}
    first = _first_of_each_scale(mapped)
    attributed = {k: run for k, run in mapped.items() if k in first or params.scales[run["scale"]].keep_records}
    nulls = _of_permuted(params, mapped, ".json")
    return {
        "scales": in_use,
        "datasets": sorted({run["dataset"] for run in runs.values()}),
        "runs": runs,
        "mapped": _beside(mapped, nulls),
        "attributed": _beside(attributed, nulls | _of_permuted(params, attributed, ".attribution.json")),
        "explored": {key: run for key, run in mapped.items() if key in first},
    }


def _of_permuted(params: Params, runs: dict[str, dict[str, str]], end: str) -> dict[tuple[str, str], str]:
    """{scale, data set: the scores of the network that learnt permuted labels}, of those among `runs`."""
    learnt = [run for run in runs.values() if params.experiments[run["experiment"]].labels == "permuted"]
    return {(run["scale"], run["dataset"]): f"results/{run['scale']}/maps/{run['experiment']}{end}" for run in learnt}


def _beside(runs: dict[str, dict[str, str]], nulls: dict[tuple[str, str], str]) -> dict[str, dict[str, str]]:
    """The same, each with the file of its null of permuted labels, else its data, which are a dependency anyway."""

    def null_of(run: dict[str, str]) -> str:
        scores = nulls.get((run["scale"], run["dataset"]), "")
        its_own = Path(scores).name.partition(".")[0] == run["experiment"]
        return scores if scores and not its_own else f"data/{run['dataset']}"

    return {key: run | {"null": null_of(run)} for key, run in runs.items()}


def _first_of_each_scale(runs: dict[str, dict[str, str]]) -> set[str]:
    return set({run["scale"]: key for key, run in reversed(runs.items())}.values())
