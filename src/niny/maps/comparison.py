"""The scores that need gradients or many passes: agreement with attributions, faithfulness, sanity.

Names as in `niny.maps.scores`: `agreement_rank.occlusion.centred`, `agreement_rank.occlusion.raw.other_image`.
Agreement is between an attribution and the class map of the predicted class, at the resolution of the map. Its nulls:
the attribution against another image's map, the untrained network's, a Gaussian at the centre, and noise. `map` stands
for the class map itself in the place of an attribution: 1 by definition, its nulls are what matters. A map of one value
ranks nothing and never changes, so that it is a null of infidelity alone; DiPart traces a network's own map back, which
maps that know nothing have no network for.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from niny.maps import nulls
from niny.maps.agreement import rank_correlation, top_overlap
from niny.maps.attribution import INNER, METHODS, attribute, dipart
from niny.maps.forward import class_maps, decide, head_kind
from niny.maps.grids import assemble, sample_grids
from niny.maps.heads import orders_of, own_orders, values_of
from niny.maps.intervals import Scores, bootstrap, score
from niny.maps.sanity import cascade, infidelity, max_sensitivity, patched
from niny.maps.scores import Subject
from niny.maps.views import ORDERS, raw
from niny.models import Network

METRICS = ("agreement_rank", "agreement_top", "cascade_rank", "dipart_inside", "infidelity", "max_sensitivity")
PLAIN = ("centre", "random")  # maps that know nothing and rank the cells all the same
DRAWS = 5  # of the weights, in cascading randomisation
RELEARNT = "relearnt"  # in the place of a layer: weights that learnt permuted labels
ALIKE = {"agreement_rank": rank_correlation, "agreement_top": top_overlap}


def few_of(grids: int) -> int:
    """How many images serve these scores where so many grids serve the others."""
    return max(5, grids // 10)


def compare_network(
    net: Network,
    images: Tensor,
    labels: Tensor,
    *,
    names: Sequence[str],
    seed: int,
    count: int = 50,
    twin: Network | None = None,
) -> Scores:
    """All scores of this module on `count` images drawn by `seed`; arguments as for `score_network`.

    `twin` is a network that learnt permuted labels of the same data, where there is one.
    """
    subject = Subject(net, images.float(), labels, names, seed)
    few = subject.some(count)
    maps = class_maps(net, subject.images[few])
    predicted = decide(net, maps).argmax(1)
    blank = class_maps(subject.blank, subject.images[few])
    found = agreement_scores(subject, few, maps, blank, predicted)
    found |= cascade_scores(subject, few, maps, predicted)
    found |= relearnt_scores(subject, few, maps, predicted, twin) if twin else {}
    found |= faithfulness_scores(subject, few, maps, blank, predicted)
    return found | dipart_scores(subject, count)


def available(net: Network) -> list[str]:
    """The attribution methods that this network's layers allow; not Grad-CAM where that is the class map."""
    blocks = {*dict(net.named_children())} - ({net.layer_names[-1]} if head_kind(net) == "gap" else set())
    lacking = {name for name, layers in INNER.items() if blocks.isdisjoint(layers)}
    return [name for name in METHODS if name not in lacking]


def agreement_scores(subject: Subject, few: Tensor, maps: Tensor, blank: Tensor, predicted: Tensor) -> Scores:
    """Rank correlation and overlap of the top tenth of each attribution with the class map, and their nulls.

    `maps` and `blank` N x K x h x w are those of the network and of the untrained one. A map in a reading is held
    against attributions of the logit in the same reading.
    """
    net, images, cells = subject.net, subject.images[few], maps.shape[-1]
    untrained, samples = own_orders(subject.blank, blank, predicted), dict[str, Tensor]()
    for view, order in own_orders(net, maps, predicted).items():
        against = {"": order, ".other_image": order.roll(1, 0), ".untrained": untrained[view]}
        against |= {f".{null}": of for null, of in plain_orders(subject, order).items()}
        read = ORDERS.get(view, raw)
        shown = {name: attribute(METHODS[name], net, images, predicted, cells, read) for name in available(net)}
        for name, found in {"map": order, **shown}.items():
            for metric, alike in ALIKE.items():
                samples |= {f"{metric}.{name}.{view}{null}": alike(found, of) for null, of in against.items()}
    return bootstrap(samples, subject.draw("agreement"))


def plain_orders(subject: Subject, like: Tensor) -> dict[str, Tensor]:
    """The Gaussian at the centre and noise, in the shape of N x h x w maps."""
    plain = nulls.plain(like[:, None], 1, subject.draw("noise"))
    return {name: plain[name][:, 0] for name in PLAIN}


def cascade_scores(subject: Subject, few: Tensor, maps: Tensor, predicted: Tensor) -> Scores:
    """Rank correlation with the trained maps as layers lose their weights from the top, signed and absolute.

    Of each image the mean over DRAWS draws of the weights: a single one may happen to keep a map, or to turn it. The
    nulls are the correlations with the map that another image has then (what is common to all images), with a Gaussian
    at the centre, and with noise.
    """
    own = own_orders(subject.net, maps, predicted)
    ranks = {
        f"{null}.{view}": [rank_correlation(order, of)]
        for null, of in plain_orders(subject, own["raw"]).items()
        for view, order in own.items()
    }
    for draw in range(DRAWS):
        for depth, (layer, twin) in enumerate(cascade(subject.net, subject.draw("cascade", draw)), 1):
            blank = own_orders(twin, class_maps(twin, subject.images[few]), predicted)
            for view, order in own.items():
                reading = f"{depth}-{layer.rpartition('.')[2]}.{view}"
                for null, of in (("", blank[view]), (".other_image", blank[view].roll(1, 0))):
                    ranks.setdefault(f"{reading}{null}", []).append(rank_correlation(order, of))
    drawn = {f"cascade_rank.{name}": torch.stack(found) for name, found in ranks.items()}
    samples = {name: found.nanmean(0) for name, found in drawn.items()}
    samples |= {absolute(name): found.abs().nanmean(0) for name, found in drawn.items()}
    return bootstrap(samples, subject.draw("cascade"))


def depth_of(part: str) -> int:
    """`10-conv1` -> 10: how many layers have lost their weights."""
    return int(part.partition("-")[0])


def absolute(name: str) -> str:
    """`a.b.raw` -> `a.b.raw.absolute`, `a.b.raw.other_image` -> `a.b.raw.absolute.other_image`."""
    stem = name.removesuffix(".other_image")
    return f"{stem}.absolute{name.removeprefix(stem)}"


def relearnt_scores(subject: Subject, few: Tensor, maps: Tensor, predicted: Tensor, twin: Network) -> Scores:
    """Rank correlation with the maps of a network that learnt permuted labels: the cascade's, but by other data.

    None where the two networks' maps differ in resolution.
    """
    others = class_maps(twin, subject.images[few])
    if others.shape[-1] != maps.shape[-1]:
        return {}
    theirs, samples = own_orders(twin, others, predicted), dict[str, Tensor]()
    free = set() if head_kind(subject.net) == "gap" else {"raw", "channel"}  # up to what all classes' weights share
    for view, order in own_orders(subject.net, maps, predicted).items():
        if view not in free:
            for null, of in (("", theirs[view]), (".other_image", theirs[view].roll(1, 0))):
                samples[f"cascade_rank.{RELEARNT}.{view}{null}"] = rank_correlation(order, of)
    samples |= {absolute(name): found.abs() for name, found in samples.items()}
    return bootstrap(samples, subject.draw("cascade"))


def faithfulness_scores(subject: Subject, few: Tensor, maps: Tensor, blank: Tensor, predicted: Tensor) -> Scores:
    """Infidelity and max-sensitivity of the map in every reading, beside those of the nulls.

    A map in a reading is to foretell the logit in the same reading, log odds in place of probabilities. Raw and centred
    maps add up to that over their cells and can be perfect; the others cannot, as the best other class changes from
    cell to cell.
    """
    net, images, seed = subject.net, subject.images[few], subject.draw("sensitivity")
    samples: dict[str, Tensor] = {}
    patches, bare = patched(net, images, subject.draw("infidelity")), own_orders(subject.blank, blank, predicted)
    for view, own in own_orders(net, maps, predicted).items():
        shown = {"": own, ".other_image": own.roll(1, 0), ".untrained": bare[view]}
        plain = nulls.plain(own[:, None], 1, subject.draw("noise"))
        shown |= {f".{null}": of[:, 0] for null, of in plain.items()}
        found = infidelity(patches, predicted, shown, ORDERS.get(view, raw))
        samples |= {f"infidelity.{view}{null}": values for null, values in found.items()}
        for null, of in (("", net), (".untrained", subject.blank)):
            read = values_of(of)[view]
            samples[f"max_sensitivity.{view}{null}"] = max_sensitivity(of, images, predicted, seed, read)
    return bootstrap(samples, subject.draw("faithfulness"))


def dipart_scores(subject: Subject, count: int) -> Scores:
    """What the middle cell of 3x3 grids sees of its neighbours: 1/9 would be everything alike."""
    index = sample_grids(subject.labels, 3, count, subject.draw("grids", 3)).to(subject.labels.device)
    canvas, classes = assemble(subject.images[index]), subject.labels[index][:, 4]
    samples: dict[str, Tensor] = {}
    for null, net in (("", subject.net), (".untrained", subject.blank)):
        found = dipart(net, canvas, classes, 3, 4, orders_of(net, 3))
        samples |= {f"dipart_inside.{view}{null}": shares for view, shares in found.items()}
    return bootstrap(samples, subject.draw("dipart")) | {"dipart_inside.uniform": score(1 / 9)}
