"""All scalar scores of one network's class maps, under the names that claims.yaml and the report use.

A name is `metric.reading[.subset or null]`: `gridpg3_mass.centred`, `claim1_rate.raw.wrong`, `gridpg3_hit.raw.animals`,
`gridpg3_mass.raw.untrained`. Readings are those of `niny.maps.views`; a null in the place of a reading (`uniform`,
`centre`) is a map that knows nothing of the network. Shares, hits and masses lie between 0 and 1; the rise of the
error under shifts is in per cent points. Nothing is chosen by confidence: grids are drawn from all images given, and
the subsets (`correct`, `wrong`, `confident`, by what the network says of an image alone) are of the cells of these.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from niny.maps import canvases, figure4, grids, nulls
from niny.maps.faithfulness import insertion
from niny.maps.forward import class_maps, decide, head_kind, logits, untrained, why_no_grids, why_no_maps
from niny.maps.heads import orders_of, values_of
from niny.maps.samples import Scores, bootstrap, bootstrap_median, only, rates, score
from niny.maps.translation import equivariance, error_rise
from niny.maps.views import ORDERS, VIEWS
from niny.models import Network
from niny.training.device import Compute, choose_compute
from niny.training.seeds import derive

GROUPS = {
    "vehicles": {"airplane", "automobile", "ship", "truck"},
    "animals": {"bird", "cat", "deer", "dog", "frog", "horse"},
}
SIDES = (2, 3)
SURE = 0.99  # probability of the class from which an image counts as confident, as Rao et al. choose theirs
OF_MAPS = ("claim1_rate", "equivariance", "insertion", "top10_share")  # scores that need class maps,
OF_CANVASES = ("focus", "gridpg", "place")  # and those that need maps of larger images
COMPLETENESS_IMAGES = 200
UNTRAINED_GRIDS = 100  # the null needs less certainty than the score


@dataclass(frozen=True)
class Subject:
    """A network and what it is scored on: preprocessed images N x C x H x W, labels N, the names of the classes."""

    net: Network
    images: Tensor
    labels: Tensor
    names: Sequence[str]
    seed: int

    def some(self, count: int) -> Tensor:
        """Indices of `count` images, the same ones for every network."""
        generator = torch.Generator().manual_seed(self.draw("images"))
        return torch.randperm(len(self.labels), generator=generator)[:count].to(self.labels.device)

    def draw(self, *purpose: int | str) -> int:
        return derive(self.seed, "maps", *purpose)


def score_network(
    net: Network,
    images: Tensor,
    labels: Tensor,
    *,
    names: Sequence[str],
    seed: int,
    grids: int = 500,
    shifted: int = 1000,
    inserted: int = 100,
    placed: int = 100,
    compute: Compute | None = None,
) -> Scores:
    """Score `net` on preprocessed test images N x C x H x W with labels N, on the network's device.

    `names` are those of the classes. `grids` of each kind are drawn; `shifted`, `inserted` and `placed` say on how many
    images, chosen by `seed` like all else, translation, insertion and detection are measured; `compute` is the
    precision, float32 unless given. Returns {name: {value, interval, n}}; scores that a network cannot have are absent,
    `skipped` says why.
    """
    subject = Subject(net, images, labels, names, seed)
    with (compute or choose_compute(images.device.type, "float32")).autocast():
        found = translation_scores(subject, shifted)
        if why_no_maps(net):
            return found
        maps = class_maps(net, images)
        said = decide(net, maps)
        found |= figure4_scores(subject, maps, said)
        found |= insertion_scores(subject, maps, said.argmax(1), inserted)
        found |= equivariance_scores(subject, 2 * inserted)
        if why_no_grids(net) is None:
            found |= dense_scores(subject, said, grids, placed)
    return found


def dense_scores(subject: Subject, said: Tensor, grids: int, placed: int) -> Scores:
    """All scores that need maps of canvases larger than an image."""
    found = focus_scores(subject, grids) | place_scores(subject, placed)
    for side in SIDES:
        if len(subject.labels.unique()) >= side**2:
            found |= grid_scores(subject, said, side, grids)
    return found


def skipped(net: Network) -> dict[str, str]:
    """Which scores this network cannot have, and why: {how their names begin: reason}."""
    reasons = dict.fromkeys(OF_MAPS, why_no_maps(net)) | dict.fromkeys(OF_CANVASES, why_no_grids(net))
    if head_kind(net) != "gap":
        reasons["completeness_error"] = "its logits are not the means of its maps"
    return {name: reason for name, reason in reasons.items() if reason}


def figure4_scores(subject: Subject, maps: Tensor, said: Tensor) -> Scores:
    """Completeness, claim 1 and the top tenth, for all, correct and wrong images, claim 1 also by class."""
    labels, correct = subject.labels, said.argmax(1) == subject.labels
    subsets = {"": labels >= 0, ".correct": correct, ".wrong": ~correct}
    classes = {f".{name}": labels == k for k, name in enumerate(subject.names)}
    chance = score(1 / maps.shape[1])
    found = {"claim1_rate.uniform": chance, "top10_share.uniform": chance} | completeness(subject)
    tops: dict[str, Tensor] = {}
    for view, order in orders_of(subject.net).items():
        seen = order(maps)
        hits, share = figure4.holds_largest(seen, labels), figure4.share_of_top(seen, labels)
        found |= rates({f"claim1_rate.{view}{name}": only(hits, where) for name, where in (subsets | classes).items()})
        tops |= {f"top10_share.{view}{name}": only(share, where) for name, where in subsets.items()}
    return found | bootstrap(tops, subject.draw("top10"))


def completeness(subject: Subject) -> Scores:
    """The largest |mean of a map - logit|, always in float32 and from two forward passes; for heads that average."""
    if head_kind(subject.net) != "gap":
        return {}
    some = subject.images[:COMPLETENESS_IMAGES]
    with torch.autocast(some.device.type, enabled=False):
        error = figure4.completeness_error(class_maps(subject.net, some), logits(subject.net, some))
    return {"completeness_error": score(error, None, len(some))}


def translation_scores(subject: Subject, count: int) -> Scores:
    """How many points of error a shift by 4 pixels costs."""
    few = subject.some(count)
    rise = error_rise(subject.net, subject.images[few], subject.labels[few], 4)
    return bootstrap({"translation_rise_4px": rise}, subject.draw("translation"))


def equivariance_scores(subject: Subject, count: int) -> Scores:
    """Correlation of maps before and after a shift of one cell, and its null without undoing the shift."""
    few = subject.some(count)
    aligned, unaligned = equivariance(subject.net, subject.images[few], subject.labels[few])
    samples = {"equivariance.raw": aligned, "equivariance.raw.unaligned": unaligned}
    return bootstrap(samples, subject.draw("equivariance"))


def insertion_scores(subject: Subject, maps: Tensor, predicted: Tensor, count: int) -> Scores:
    """Insertion areas of each reading of the predicted class's map, of the nulls, and the gains over them."""
    few = subject.some(count)
    images, maps, predicted = subject.images[few].float(), maps[few], predicted[few]
    place = torch.arange(len(few), device=few.device)

    def area(order: Tensor) -> Tensor:
        return insertion(subject.net, images, predicted, order, subject.draw("ties"))

    own = {view: order(maps)[place, predicted] for view, order in orders_of(subject.net).items()}
    centre = area(nulls.centre(*maps.shape[2:]).to(maps.device).expand_as(own["raw"]))
    other = area(own["raw"].roll(1, 0))  # each image in the order of the image before it, for what that one shows
    samples = {"insertion_area.centre": centre, "insertion_area.other_image": other}
    for view, order in own.items():
        ours = area(order)
        gains = {f"insertion_gain_centre.{view}": ours - centre, f"insertion_gain_other.{view}": ours - other}
        samples |= gains | {f"insertion_area.{view}": ours}
    return bootstrap(samples, subject.draw("insertion"))


def grid_scores(subject: Subject, said: Tensor, side: int, count: int) -> Scores:
    """The grid pointing game on `count` grids: mass and hit of every reading, by subset, beside their nulls."""
    index = grids.sample_grids(subject.labels, side, count, subject.draw("grids", side)).to(subject.labels.device)
    classes = subject.labels[index]
    correct = said.argmax(1) == subject.labels
    sure = correct & (said.softmax(1).amax(1) >= SURE)
    subsets = {"": classes >= 0, ".correct": correct[index], ".wrong": ~correct[index], ".confident": sure[index]}
    subsets |= groups(classes, subject.names)
    maps = grid_maps(subject.net, subject.images, index)
    blank = grid_maps(untrained(subject.net, subject.draw("untrained")), subject.images, index[:UNTRAINED_GRIDS])
    samples: dict[str, Tensor] = {}
    readings = {"mass": values_of(subject.net, side), "hit": orders_of(subject.net, side)}
    for metric, measure in (("mass", grids.mass), ("hit", grids.hit)):
        stem = f"gridpg{side}_{metric}"
        for view, read in readings[metric].items():
            values = measure(read(maps), classes, side)
            samples |= {f"{stem}.{view}{name}": only(values, where) for name, where in subsets.items()}
            samples[f"{stem}.{view}.other_image"] = measure(read(maps).roll(1, 0), classes, side)
            samples[f"{stem}.{view}.untrained"] = _padded(measure(read(blank), classes[: len(blank)], side), count)
        for null, order in null_maps(maps, side, subject.draw("noise")).items():
            samples[f"{stem}.{null}"] = measure(order, classes, side)
    medians = {f"gridpg{side}_mass_median.{view}": samples[f"gridpg{side}_mass.{view}"] for view in readings["mass"]}
    found = bootstrap(samples, subject.draw("gridpg", side)) | bootstrap_median(medians, subject.draw("gridpg", side))
    return found | {f"gridpg{side}_{metric}.uniform": score(1 / side**2) for metric in ("mass", "hit")}


def focus_scores(subject: Subject, count: int) -> Scores:
    """Focus on 2x2 mosaics that hold two images of the class asked for."""
    index, asked = (
        t.to(subject.labels.device) for t in grids.sample_mosaics(subject.labels, count, subject.draw("focus"))
    )
    maps, classes = grid_maps(subject.net, subject.images, index), subject.labels[index]
    random = null_maps(maps, 2, subject.draw("noise"))["random"]
    samples = {
        f"focus.{view}": grids.focus(read(maps), classes, asked) for view, read in values_of(subject.net, 2).items()
    }
    samples["focus.random"] = grids.focus(random, classes, asked)
    return bootstrap(samples, subject.draw("focus")) | {"focus.uniform": score(1 / 2)}


def place_scores(subject: Subject, count: int) -> Scores:
    """Place and detect, on every kind of canvas; its nulls are a Gaussian at the canvas's centre and noise."""
    chosen, side = subject.some(count), subject.images.shape[-1]
    corners = canvases.places(len(chosen), side, subject.draw("places"))
    place = torch.arange(len(chosen), device=chosen.device)
    samples: dict[str, Tensor] = {}
    for kind in canvases.KINDS:
        canvas = canvases.canvases(kind, subject.images, subject.labels, chosen, corners, subject.draw("canvas"))
        maps = class_maps(subject.net, canvas)
        own = {view: (read(maps), ORDERS[view](maps)) for view, read in VIEWS.items()}
        own |= {null: (order, order) for null, order in null_maps(maps, 1, subject.draw("noise")).items()}
        for name, pair in own.items():
            marked, order = (of[place, subject.labels[chosen]] for of in pair)
            values = canvases.detect(marked, order, corners, side)
            samples |= {f"place_{metric}.{name}.{kind}": value for metric, value in values.items()}
    return bootstrap(samples, subject.draw("place"))


def grid_maps(net: Network, images: Tensor, index: Tensor) -> Tensor:
    """Class maps of the grids of images that `index` [G, n²] names: G x K x nh x nw."""
    parts = [grids.assemble(images[part]) for part in index.split(50)]
    return torch.cat([class_maps(net, part) for part in parts])


def null_maps(maps: Tensor, side: int, seed: int) -> Mapping[str, Tensor]:
    """Maps of the same shape that know nothing: a Gaussian at the centre of every image of the grid, and noise."""
    cell = nulls.centre(maps.shape[2] // side, maps.shape[3] // side).to(maps.device)
    random = nulls.noise(tuple(maps.shape), seed).to(maps.device)
    return {"centre": cell.repeat(side, side).expand_as(maps), "random": random}


def groups(classes: Tensor, names: Sequence[str]) -> dict[str, Tensor]:
    """Where `classes` are vehicles and animals, for data sets whose classes are these (CIFAR-10)."""
    if set(names) != set.union(*GROUPS.values()):
        return {}
    return {
        f".{group}": torch.isin(classes, torch.tensor([names.index(m) for m in members], device=classes.device))
        for group, members in GROUPS.items()
    }


def _padded(values: Tensor, count: int) -> Tensor:
    return torch.cat([values, values.new_full((count - len(values), *values.shape[1:]), torch.nan)])
