"""All scalar scores of one network's class maps, under the names that claims.yaml and the report use.

A name is `metric.reading[.subset or null]`: `gridpg3_mass.centred`, `claim1_rate.raw.wrong`, `gridpg3_hit.raw.animals`,
`gridpg3_mass.raw.untrained`. Readings are those of `niny.maps.views`. Nulls after a reading are the same score of
another image's maps (`other_image`; where an object's place is asked for, its map of the class that it shows) and of
the network before training (`untrained`); nulls in the place of a reading are maps that know nothing (`uniform`,
`random`, `centre`). A network trained on permuted labels is a null too: an experiment of its own, whose record has the
same names. A null that a metric cannot have is absent: a map of one value has no largest cell or window, correlates
with nothing, and never changes.

Shares, hits and masses lie between 0 and 1; the rise of the error under shifts is in per cent points. Nothing is chosen
by confidence: grids are drawn from all images given, and the subsets (`correct`, `wrong`, `confident`, by what the
network says of an image alone) are of the cells of these.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from niny.maps import canvases, figure4, grids, nulls
from niny.maps.concentration import entropy, gini
from niny.maps.faithfulness import deletion, insertion
from niny.maps.forward import class_maps, decide, logits, untrained, why_no_maps
from niny.maps.heads import of_classes, orders_of, own_orders, values_of
from niny.maps.intervals import Scores, bootstrap, bootstrap_median, only, padded, rates, score
from niny.maps.translation import equivariance, error_rise, shifted_maps
from niny.models import Network
from niny.training.device import Compute, choose_compute
from niny.training.seeds import derive

GROUPS = {
    "vehicles": {"airplane", "automobile", "ship", "truck"},
    "animals": {"bird", "cat", "deer", "dog", "frog", "horse"},
}
SIDES = (2, 3)
SURE = 0.99  # probability of the class from which an image counts as confident, as Rao et al. choose theirs
OF_MAPS = (  # need class maps
    *("claim1_rate", "completeness_error", "deletion", "entropy", "equivariance", "focus", "gini", "gridpg"),
    *("insertion", "place", "top10_share"),
)
COMPLETENESS_IMAGES = 200
NULL_IMAGES = 1000  # on which the nulls of figure 4 are measured
BLANK = 2  # the untrained network is scored on one item of so many

Measure = Callable[[Tensor, Tensor], Mapping[str, Tensor]]  # values and order of the first n items -> n values of each


@dataclass(frozen=True)
class Subject:
    """A network and what it is scored on: preprocessed images N x C x H x W, labels N, the names of the classes."""

    net: Network
    images: Tensor
    labels: Tensor
    names: Sequence[str]
    seed: int

    @cached_property
    def blank(self) -> Network:
        """The same network before training."""
        return untrained(self.net, self.draw("untrained"))

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
    compute: Compute | None = None,
) -> Scores:
    """Score `net` on preprocessed test images N x C x H x W with labels N, on the network's device.

    `names` are those of the classes. `grids` of each kind are drawn; translation is measured on twice as many images,
    insertion, deletion and detection on a fifth, equivariance on a third, all chosen by `seed` alone. `compute` is the
    precision, float32 unless given. Returns {name: {value, interval, n}}; scores that a network cannot have are absent,
    `skipped` says why.
    """
    subject = Subject(net, images, labels, names, seed)
    with (compute or choose_compute(images.device.type, "float32")).autocast():
        if why_no_maps(net):
            return translation_scores(subject, None, 2 * grids)
        maps = class_maps(net, images)
        said = decide(net, maps)
        found = translation_scores(subject, said.argmax(1), 2 * grids)
        found |= figure4_scores(subject, maps, said)
        found |= faithfulness_scores(subject, maps, said, max(1, grids // 5))
        found |= equivariance_scores(subject, maps, max(1, grids // 3))
        return found | dense_scores(subject, said, grids)


def dense_scores(subject: Subject, said: Tensor, count: int) -> Scores:
    """All scores of maps of canvases larger than an image."""
    found = focus_scores(subject, count) | place_scores(subject, max(1, count // 5))
    for side in SIDES:
        if len(subject.labels.unique()) >= side**2:
            found |= grid_scores(subject, said, side, count)
    return found


def skipped(net: Network) -> dict[str, str]:
    """Which scores this network cannot have, and why: {how their names begin: reason}."""
    why = why_no_maps(net)
    return dict.fromkeys(OF_MAPS, why) if why else {}


def with_nulls(
    net: Network,
    bare: Network,
    maps: Tensor,
    others: Tensor,
    blank: Tensor,
    seed: int,
    side: int = 1,
    centres: int = 1,
    classes: Tensor | None = None,
) -> Iterator[tuple[str, str, Tensor, Tensor]]:
    """(reading, null, values, order) of `maps` in every reading, and then of every null that stands beside them.

    `others` are maps of the first items, for the nulls that are made of them: each item gets the maps of the item
    before it, of its own class where `classes` (one an item) are given. `blank` are those of the first items by the
    untrained network `bare`, read through its own head. All are of canvases `side` images wide, with a middle in each
    of `centres` x `centres` parts.
    """
    values, orders = values_of(net, side), orders_of(net, side)
    bare_values, bare_orders = values_of(bare, side), orders_of(bare, side)
    for view, read in values.items():
        yield view, "", read(maps), orders[view](maps)
        yield view, ".untrained", bare_values[view](blank), bare_orders[view](blank)
        other, order = read(others).roll(1, 0), orders[view](others).roll(1, 0)
        if classes is not None:
            other, order = nulls.as_its_own(other, classes), nulls.as_its_own(order, classes)
        yield view, ".other_image", other, order
    for name, shown in nulls.plain(others, centres, seed).items():
        yield name, "", shown, shown


def sampled(
    variants: Iterator[tuple[str, str, Tensor, Tensor]], measure: Measure, count: int, kind: str = ""
) -> dict[str, Tensor]:
    """`metric.reading[.kind][.null]` of all `variants`, `count` values each, NaN for items that a null leaves out."""
    return {
        f"{metric}.{reading}{kind}{null}": padded(found, count)
        for reading, null, values, order in variants
        for metric, found in measure(values, order).items()
    }


def figure4_scores(subject: Subject, maps: Tensor, said: Tensor) -> Scores:
    """Completeness, claim 1, the top tenth and concentration for all, correct and wrong images, claim 1 by class."""
    labels, correct, count = subject.labels, said.argmax(1) == subject.labels, len(maps)
    subsets = {".correct": correct, ".wrong": ~correct}
    classes = {f".{name}": labels == k for k, name in enumerate(subject.names)}
    others = maps[:NULL_IMAGES]
    blank = class_maps(subject.blank, subject.images[: some_of(len(others))])
    variants = with_nulls(subject.net, subject.blank, maps, others, blank, subject.draw("noise"))
    samples = sampled(variants, lambda values, order: of_figure4(values, order, labels[: len(values)]), count)
    for name in [f"{metric}.{view}" for metric in ("claim1_rate", "top10_share") for view in values_of(subject.net)]:
        chosen = subsets | classes if name.startswith("claim1") else subsets
        samples |= of_subsets(samples, name, chosen)
    own = tuple(f"claim1_rate.{view}" for view in values_of(subject.net))  # the plain maps' hits are shares, all alike
    hits = {name: samples.pop(name) for name in [*samples] if name.startswith(own)}
    seed = subject.draw("top10")
    return completeness(subject) | rates(hits, seed) | bootstrap(samples, seed)


def of_subsets(samples: Mapping[str, Tensor], name: str, subsets: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A sample on every subset of its items, and so the nulls after it: networks favour some classes over others."""
    return {
        f"{name}{suffix}{null}": only(samples[f"{name}{null}"], where)
        for suffix, where in subsets.items()
        for null in ("", ".other_image", ".untrained")
    }


def of_figure4(values: Tensor, order: Tensor, labels: Tensor) -> dict[str, Tensor]:
    """What is asked of each image's maps N x K x h x w in one reading, and how concentrated the true class's map is."""
    own = values[torch.arange(len(labels), device=labels.device), labels]
    return {
        "claim1_rate": figure4.holds_largest(order, labels),
        "top10_share": figure4.share_of_top(order, labels),
        "entropy": entropy(own),
        "gini": gini(own),
    }


def completeness(subject: Subject) -> Scores:
    """The largest |mean of a class map - logit|, always in float32 and from two forward passes."""
    some, found = subject.images[:COMPLETENESS_IMAGES], {}
    with torch.autocast(some.device.type, enabled=False):
        for null, net in (("", subject.net), (".untrained", subject.blank)):
            error = figure4.completeness_error(of_classes(net, class_maps(net, some)), logits(net, some))
            if math.isfinite(error):  # a training that diverged left no numbers
                found[f"completeness_error{null}"] = score(error, None, len(some))
    return found


def translation_scores(subject: Subject, predicted: Tensor | None, count: int) -> Scores:
    """How many points of error a shift by 4 pixels costs; `predicted` N where it is known already."""
    few = subject.some(count)
    images, labels = subject.images[few], subject.labels[few]
    before = logits(subject.net, images).argmax(1) if predicted is None else predicted[few]
    samples = {"translation_rise_4px": error_rise(subject.net, images, labels, before, 4)}
    images, labels = images[: some_of(len(few))], labels[: some_of(len(few))]
    alone = error_rise(subject.blank, images, labels, logits(subject.blank, images).argmax(1), 4)
    samples["translation_rise_4px.untrained"] = padded(alone, len(few))
    return bootstrap(samples, subject.draw("translation"))


def equivariance_scores(subject: Subject, maps: Tensor, count: int) -> Scores:
    """Correlation of the true class's map with that of the image moved by one cell, the shift undone, and its nulls.

    `unaligned` is the correlation without undoing the shift: what is left of it where maps stay in their place.
    """
    few = subject.some(count)
    before, labels = maps[few], subject.labels[few]
    after = shifted_maps(subject.net, subject.images[few], before.shape[-1])
    rows = some_of(count)
    blank = class_maps(subject.blank, subject.images[few[:rows]])
    blank_after = shifted_maps(subject.blank, subject.images[few[:rows]], before.shape[-1])
    samples: dict[str, Tensor] = {}
    bare = values_of(subject.blank)
    for view, read in values_of(subject.net).items():
        stem, moved = f"equivariance.{view}", [read(some) for some in after]
        samples[stem], samples[f"{stem}.unaligned"] = equivariance(read(before), moved, labels)
        other = nulls.as_its_own(read(before).roll(1, 0), labels)
        samples[f"{stem}.other_image"] = equivariance(other, moved, labels)[0]
        alone = equivariance(bare[view](blank), [bare[view](some) for some in blank_after], labels[:rows])[0]
        samples[f"{stem}.untrained"] = padded(alone, len(few))
    plain = [nulls.plain(before, 1, subject.draw("noise", i)) for i in range(1 + len(after))]
    for name in ("random", "centre"):  # a map of one value correlates with nothing
        shown = [maps[name] for maps in plain]
        samples[f"equivariance.{name}"] = equivariance(shown[0], shown[1:], labels)[0]
    return bootstrap(samples, subject.draw("equivariance"))


def faithfulness_scores(subject: Subject, maps: Tensor, said: Tensor, count: int) -> Scores:
    """Insertion and deletion areas of the predicted class's map in each reading, of their nulls, and all gains.

    The null of another image is that image's map of what the network sees there. A map of one value restores pixels at
    random, in the same order for all images.
    """
    few = subject.some(count)
    images, maps, predicted = subject.images[few].float(), maps[few], said[few].argmax(1)
    orders = own_orders(subject.net, maps, predicted)
    views, blank = [*orders], own_orders(subject.blank, class_maps(subject.blank, images), predicted)
    orders |= {f"{view}.other_image": orders[view].roll(1, 0) for view in views}
    orders |= {f"{view}.untrained": blank[view] for view in views}
    plain = nulls.plain(orders["raw"][:, None], 1, subject.draw("noise"))
    orders |= {name: order[:, 0] for name, order in plain.items()}
    samples: dict[str, Tensor] = {}
    for metric, area, sign in (("insertion", insertion, 1), ("deletion", deletion, -1)):
        areas = area(subject.net, images, predicted, orders, subject.draw("ties"))
        samples |= {f"{metric}_area.{name}": found for name, found in areas.items()}
        for view in views:
            samples |= {f"{metric}_gain_{name}": sign * gain for name, gain in gains(areas, view).items()}
    return bootstrap(samples, subject.draw("insertion"))


def gains(areas: Mapping[str, Tensor], view: str) -> dict[str, Tensor]:
    """What an order is worth beyond another image's, and beyond the centre: `other.VIEW[.null]`, `centre.VIEW[.null]`.

    Area less area, of the reading and of each of its nulls but the one it is held against.
    """
    every = {"": areas[view]} | {f".{n}": areas[f"{view}.{n}"] for n in ("other_image", "untrained")}
    every |= {f".{n}": areas[n] for n in ("uniform", "random", "centre")}
    return {
        f"{name}.{view}{null}": area - every[of]
        for name, of in (("other", ".other_image"), ("centre", ".centre"))
        for null, area in every.items()
        if null != of
    }


def grid_scores(subject: Subject, said: Tensor, side: int, count: int) -> Scores:
    """The grid pointing game on `count` grids: mass and hit of every reading, by subset, beside their nulls."""
    index = grids.sample_grids(subject.labels, side, count, subject.draw("grids", side)).to(subject.labels.device)
    classes, correct = subject.labels[index], said.argmax(1) == subject.labels
    sure = correct & (said.softmax(1).amax(1) >= SURE)
    subsets = {".correct": correct[index], ".wrong": ~correct[index], ".confident": sure[index]}
    subsets |= groups(classes, subject.names)
    maps, blank = trained_and_blank(subject, index)

    def measure(values: Tensor, order: Tensor) -> dict[str, Tensor]:
        of = classes[: len(values)]
        return {f"gridpg{side}_mass": grids.mass(values, of, side), f"gridpg{side}_hit": grids.hit(order, of, side)}

    variants = with_nulls(subject.net, subject.blank, maps, maps, blank, subject.draw("noise"), side, side)
    samples = sampled(variants, measure, count)
    readings = list(values_of(subject.net))
    for name in [f"gridpg{side}_{metric}.{view}" for metric in ("mass", "hit") for view in readings]:
        samples |= of_subsets(samples, name, subsets)
    medians = {name.replace("mass", "mass_median", 1): of for name, of in samples.items() if has_median(name)}
    return bootstrap(samples, subject.draw("gridpg", side)) | bootstrap_median(medians, subject.draw("gridpg", side))


def has_median(name: str) -> bool:
    """Of which scores on grids there are medians too: of the masses of all images, and of those others publish."""
    subsets = {"correct", "wrong", *GROUPS}
    return "_mass." in name and subsets.isdisjoint(name.split("."))


def focus_scores(subject: Subject, count: int) -> Scores:
    """Focus on 2x2 mosaics that hold two images of the class asked for."""
    index, asked = (
        t.to(subject.labels.device) for t in grids.sample_mosaics(subject.labels, count, subject.draw("focus"))
    )
    maps, blank = trained_and_blank(subject, index)

    def measure(values: Tensor, _: Tensor) -> dict[str, Tensor]:
        return {"focus": grids.focus(values, subject.labels[index][: len(values)], asked[: len(values)])}

    variants = with_nulls(subject.net, subject.blank, maps, maps, blank, subject.draw("noise"), 2, 2)
    samples = sampled(variants, measure, count)
    return bootstrap(samples, subject.draw("focus"))


def place_scores(subject: Subject, count: int) -> Scores:
    """Place and detect, on every kind of canvas."""
    chosen, side = subject.some(count), subject.images.shape[-1]
    corners = canvases.places(len(chosen), side, subject.draw("places"))
    labels = subject.labels[chosen]

    def measure(values: Tensor, order: Tensor) -> dict[str, Tensor]:
        own = torch.arange(len(values), device=labels.device), labels[: len(values)]
        found = canvases.detect(values[own], order[own], corners[: len(values)], side)
        return {f"place_{metric}": value for metric, value in found.items()}

    samples: dict[str, Tensor] = {}
    for kind in canvases.KINDS:
        canvas = canvases.canvases(kind, subject.images, subject.labels, chosen, corners, subject.draw("canvas"))
        maps, blank = class_maps(subject.net, canvas), class_maps(subject.blank, canvas[: some_of(count)])
        networks, noise = (subject.net, subject.blank), subject.draw("noise")
        variants = with_nulls(*networks, maps, maps, blank, noise, canvases.SIDE, classes=labels)
        samples |= sampled(variants, measure, len(chosen), f".{kind}")
        del samples[f"place_iou.uniform.{kind}"]  # all windows are alike, but for rounding
    return bootstrap(samples, subject.draw("place"))


def trained_and_blank(subject: Subject, index: Tensor) -> tuple[Tensor, Tensor]:
    """Class maps of the grids of images that `index` [G, n²] names, G x K x nh x nw, and untrained ones of some."""
    few = index[: some_of(len(index))]
    return grid_maps(subject.net, subject.images, index), grid_maps(subject.blank, subject.images, few)


def some_of(count: int) -> int:
    return max(1, count // BLANK)


def grid_maps(net: Network, images: Tensor, index: Tensor) -> Tensor:
    """Class maps of the grids of images that `index` [G, n²] names: G x K x nh x nw."""
    parts = [grids.assemble(images[part]) for part in index.split(50)]
    return torch.cat([class_maps(net, part) for part in parts])


def groups(classes: Tensor, names: Sequence[str]) -> dict[str, Tensor]:
    """Where `classes` are vehicles and animals, for data sets whose classes are these (CIFAR-10)."""
    if set(names) != set.union(*GROUPS.values()):
        return {}
    return {
        f".{group}": torch.isin(classes, torch.tensor([names.index(m) for m in members], device=classes.device))
        for group, members in GROUPS.items()
    }
