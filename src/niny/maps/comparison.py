"""The scores that need gradients or many passes: agreement with attributions, faithfulness, sanity.

Names as in `niny.maps.scores`: `agreement_rank.occlusion.centred`, `agreement_rank.occlusion.raw.other_image`.
Agreement is between an attribution and the class map of the predicted class, at the resolution of the map, beside two
nulls: the attribution against another image's map, and against a Gaussian at the centre.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from niny.maps import nulls
from niny.maps.agreement import rank_correlation, top_overlap
from niny.maps.attribution import METHODS, attribute, dipart
from niny.maps.forward import class_maps, decide, head_kind, why_no_grids
from niny.maps.grids import assemble, sample_grids
from niny.maps.heads import orders_of, values_of
from niny.maps.samples import Scores, bootstrap, score
from niny.maps.sanity import cascade, infidelity, max_sensitivity, own_maps
from niny.maps.scores import Subject
from niny.models import Network

ALIKE = {"agreement_rank": rank_correlation, "agreement_top": top_overlap}


def compare_network(
    net: Network, images: Tensor, labels: Tensor, *, names: Sequence[str], seed: int, count: int = 50
) -> Scores:
    """All scores of this module on `count` images drawn by `seed`; arguments as for `score_network`."""
    subject = Subject(net, images.float(), labels, names, seed)
    few = subject.some(count)
    maps = class_maps(net, subject.images[few])
    predicted = decide(net, maps).argmax(1)
    found = agreement_scores(subject, few, maps, predicted)
    found |= cascade_scores(subject, few, maps, predicted)
    found |= faithfulness_scores(subject, few, maps, predicted)
    return found if why_no_grids(net) else found | dipart_scores(subject, count)


def available(net: Network) -> list[str]:
    """The attribution methods that this network's layers allow; not gradient x activation where that is the map."""
    blocks = dict(net.named_children())
    lacking = {f"gradcam{i}" for i in (1, 2) if f"mlpconv{i}" not in blocks}
    lacking |= {"contribution"} if head_kind(net) == "gap" else set()
    return [name for name in METHODS if name not in lacking]


def agreement_scores(subject: Subject, few: Tensor, maps: Tensor, predicted: Tensor) -> Scores:
    """Rank correlation and overlap of the top tenth of each attribution with the class map, and the two nulls."""
    own, images = _own(subject.net, maps, predicted), subject.images[few]
    centre = nulls.centre(*maps.shape[2:]).to(maps.device).expand_as(own["raw"])
    samples: dict[str, Tensor] = {}
    for name in available(subject.net):
        found = attribute(METHODS[name], subject.net, images, predicted, maps.shape[-1])
        for metric, alike in ALIKE.items():
            stem = f"{metric}.{name}"
            samples |= {f"{stem}.{view}": alike(found, order) for view, order in own.items()}
            samples |= {f"{stem}.{view}.other_image": alike(found, order.roll(1, 0)) for view, order in own.items()}
            samples[f"{stem}.centre"] = alike(found, centre)
    for metric, alike in ALIKE.items():
        samples |= {f"{metric}.map.{view}.centre": alike(order, centre) for view, order in own.items()}
        samples |= {f"{metric}.map.{view}.other_image": alike(order, order.roll(1, 0)) for view, order in own.items()}
    return bootstrap(samples, subject.draw("agreement"))


def _own(net: Network, maps: Tensor, classes: Tensor) -> dict[str, Tensor]:
    place = torch.arange(len(maps), device=maps.device)
    return {view: order(maps)[place, classes] for view, order in orders_of(net).items()}


def cascade_scores(subject: Subject, few: Tensor, maps: Tensor, predicted: Tensor) -> Scores:
    """Rank correlation with the trained maps as layers lose their weights from the top, signed and absolute.

    Its null is the correlation with the map that another image has then: what is common to all images.
    """
    own = _own(subject.net, maps, predicted)
    samples: dict[str, Tensor] = {}
    for depth, (layer, twin) in enumerate(cascade(subject.net, subject.draw("cascade")), 1):
        blank = _own(twin, class_maps(twin, subject.images[few]), predicted)
        for view, order in own.items():
            rank = rank_correlation(order, blank[view])
            stem = f"cascade_rank.{depth}-{layer.rpartition('.')[2]}.{view}"
            other = rank_correlation(order, blank[view].roll(1, 0))
            samples |= {stem: rank, f"{stem}.absolute": rank.abs()}
            samples |= {f"{stem}.other_image": other, f"{stem}.absolute.other_image": other.abs()}
    return bootstrap(samples, subject.draw("cascade"))


def faithfulness_scores(subject: Subject, few: Tensor, maps: Tensor, predicted: Tensor) -> Scores:
    """Infidelity and max-sensitivity of the map in every reading, beside those of the nulls."""
    net, images, seed = subject.net, subject.images[few], subject.draw("sensitivity")
    place = torch.arange(len(few), device=few.device)
    readings = values_of(net)
    shown = {view: read(maps)[place, predicted] for view, read in readings.items()}
    shown |= {"raw.other_image": shown["raw"].roll(1, 0), "raw.untrained": own_maps(subject.blank, images, predicted)}
    shown["centre"] = nulls.centre(*maps.shape[2:]).to(maps.device).expand_as(shown["raw"])
    found = infidelity(net, images, predicted, shown, subject.draw("infidelity"))
    samples = {f"infidelity.{name}": values for name, values in found.items()}
    for view, read in readings.items():
        for null, of in (("", net), (".untrained", subject.blank)):
            samples[f"max_sensitivity.{view}{null}"] = max_sensitivity(of, images, predicted, seed, read)
    return bootstrap(samples, subject.draw("faithfulness"))


def dipart_scores(subject: Subject, count: int) -> Scores:
    """What the middle cell of 3x3 grids sees of its neighbours: 1/9 would be everything alike."""
    index = sample_grids(subject.labels, 3, count, subject.draw("grids", 3)).to(subject.labels.device)
    canvas, classes = assemble(subject.images[index]), subject.labels[index][:, 4]
    nets = {"dipart_inside": subject.net, "dipart_inside.untrained": subject.blank}
    shares = {name: dipart(net, canvas, classes, 3, 4) for name, net in nets.items()}
    return bootstrap(shares, subject.draw("dipart")) | {"dipart_inside.uniform": score(1 / 9)}
