"""Figures 2 and 3 of the paper from our own network and runs, and every experiment beside the paper's number.

Single runs are dots and lines. Where there are several, a band spans all of them (figure 3) and a bar shows the 95 %
interval of one more run (errors). The same records give the same bytes: SVG with fixed ids and no date.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from statistics import fmean
from typing import Literal

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import FancyBboxPatch, Rectangle
from matplotlib.ticker import MaxNLocator
from torch import nn

from niny.config import Params
from niny.models import build, parameter_count
from niny.models.blocks import Dropout
from niny.paper import FIGURE_3, reported
from niny.report.drawing import Picture, save
from niny.report.dynamics import draw_dynamics
from niny.report.scores import draw_scores
from niny.report.speed import draw_speed
from niny.report.study import REFERENCE, Study, data_name, load_study, measured, other_rates
from niny.report.words import distinct
from niny.style import BLUE, INK, MUTED, ORANGE

CURVES = (
    ("cifar10-nin-nodropout", "no_dropout", "without dropout", ORANGE),
    (REFERENCE, "dropout", "with dropout", BLUE),
)
LAST = FIGURE_3.epochs[-1]


def write_figures(params: Params, scale: str, root: Path) -> list[Path]:
    """Write results/<scale>/figures/{network,errors,figure-3,map-scores,map-epochs,speed}.svg; the paths written."""
    study = load_study(params, scale, root)
    drawings: Mapping[str, Callable[[Study], Figure]] = {
        "network": draw_network,
        "errors": draw_errors,
        "figure-3": draw_figure_3,
        "map-scores": draw_scores,
        "map-epochs": draw_dynamics,
        "speed": draw_speed,
    }
    return [save(draw, study, study.folder / "figures" / f"{name}.svg") for name, draw in drawings.items()]


def errors_picture(study: Study) -> Picture:
    """What the figure of all errors says, in words."""
    told = [
        f"{name}: {study.silence(name) if mean is None else f'{mean:.2f} %'}, paper {reported().get(name, 'none')}"
        for name, mean in ((e.name, study.errors(e.name).mean) for e in study.experiments)
    ]
    return Picture(
        "errors",
        "Test errors, ours and the paper's",
        "A dot is one run; a bar is the 95 % interval of one more run, where there are two or more, cut at 0 and 100; "
        f"a diamond is the single run that the paper reports. {other_rates(study, list(reported()))}".strip(),
        "Dot plot of test errors in per cent. " + "; ".join(told) + ".",
    )


def draw_errors(study: Study) -> Figure:
    """A line for each experiment: our runs, the interval of one more, the paper's number."""
    experiments = study.experiments
    figure = Figure(figsize=(7.2, 1.5 + 0.36 * len(experiments)))
    axes = figure.subplots()
    off = {e.name for e in experiments if e.labels == "permuted"}  # at chance, by design: no place for it on the scale
    for y, experiment in enumerate(experiments):
        (_off_scale if experiment.name in off else _errors_line)(axes, study, experiment.name, y)
    axes.set_yticks(range(len(experiments)), [e.name for e in experiments])
    axes.set_ylim(len(experiments) - 0.4, -0.6)
    axes.grid(axis="y", visible=False)
    axes.set_xlim(0, min(100, axes.get_xlim()[1]))
    axes.set_xlabel("test error, %")
    handles = [_dot("one run of ours"), _diamond("the paper")]
    if any(study.errors(e.name).prediction for e in experiments):
        handles.insert(1, Line2D([], [], color=BLUE, linewidth=4, alpha=0.35, label="95 % of one more run"))
    figure.legend(handles=handles, loc="outside lower center", ncols=3)
    return figure


def _errors_line(axes: Axes, study: Study, experiment: str, y: int) -> None:
    errors = [*study.result(experiment).test_errors.values()]
    prediction, paper = study.errors(experiment).prediction, reported().get(experiment)
    if prediction:
        low, high = max(0.0, prediction[0]), min(100.0, prediction[1])
        axes.plot([low, high], [y, y], color=BLUE, linewidth=4, alpha=0.35, solid_capstyle="butt")
    if paper is not None:
        axes.plot([paper], [y - 0.25], "D", color="none", markeredgecolor=INK, markersize=5.5, clip_on=False)
    if errors:
        axes.plot(errors, [y] * len(errors), "o", color=BLUE, markersize=6, clip_on=False)
    else:  # and no line without a point, for which the layout would keep room
        place, frame = ((paper, y), "data") if paper is not None else ((0, y), ("axes fraction", "data"))
        axes.annotate(
            study.silence(experiment),
            place,
            xytext=(10, 0),
            xycoords=frame,
            textcoords="offset points",
            va="center",
            color=MUTED,
        )


def _off_scale(axes: Axes, study: Study, experiment: str, y: int) -> None:
    """In words at the right edge, so that the scale is that of networks which learn."""
    mean = study.errors(experiment).mean
    told = study.silence(experiment) if mean is None else f"{mean:.2f} % →"
    axes.annotate(
        told,
        (1, y),
        xytext=(-6, 0),
        xycoords=("axes fraction", "data"),
        textcoords="offset points",
        ha="right",
        va="center",
        color=MUTED if mean is None else BLUE,
    )


def _dot(label: str) -> Line2D:
    return Line2D([], [], linestyle="none", marker="o", color=BLUE, markersize=6, label=label)


def _diamond(label: str) -> Line2D:
    return Line2D([], [], linestyle="none", marker="D", color="none", markeredgecolor=INK, markersize=5.5, label=label)


def reaches_figure_3(study: Study) -> bool:
    """Does any of our curves run as long as the paper's, so that one can lie over the other?"""
    rows = (rows for name, *_ in CURVES for rows in study.result(name).history.values())
    return any(row["epoch"] >= LAST for run in rows for row in run)


def figure_3_picture(study: Study) -> Picture:
    """Caption and description of figure 3, which has two forms: curves laid over the paper's, or beside them."""
    over = "Circles: the 26 points of each of the paper's curves; lines: ours."
    beside = (
        "Left: the paper's 26 points a curve. Right: ours, over far fewer epochs and so on an axis of its own; the two "
        "panels share the scale of errors, not that of epochs."
    )
    ours = [f"{label}: {_last_words(study, name)}" for name, _, label, _ in CURVES]
    return Picture(
        "figure-3",
        "Figure 3: training and test error of NIN with and without dropout",
        f"{over if reaches_figure_3(study) else beside} Training error is drawn as it is while dropout masks are on "
        f"(what the paper's very likely is) and, on {study.scale.probe_images:,} images at most, with them off. "
        "Several runs: their mean, and a band over all of them. "
        f"{other_rates(study, [name for name, *_ in CURVES])}".strip(),
        f"Curves of error against epochs. Paper, after {LAST} epochs: {FIGURE_3.test_no_dropout[-1]} % test error "
        f"without dropout, {FIGURE_3.test_dropout[-1]} % with. Ours, {'; '.join(ours)}.",
    )


def _last_words(study: Study, experiment: str) -> str:
    error = study.errors(experiment).mean
    epochs = distinct(study.of(experiment, "finished")["epochs"])
    return study.silence(experiment) if error is None else f"{error:.2f} % test error after {epochs} epochs"


FLOOR = 0.1  # per cent: a logarithmic axis has no place for 0, so errors below are drawn here
ERROR_TICKS = (FLOOR, 0.5, 2, 5, 10, 20, 50, 90)


def draw_figure_3(study: Study) -> Figure:
    """Errors against epochs on one logarithmic scale: laid over the paper's where ours are as long, else beside."""
    figure = Figure(figsize=(7.2, 4.0))
    left, right = figure.subplots(1, 2, sharey=True)
    if reaches_figure_3(study):
        _over(study, left, right)
    else:
        _beside(study, left, right)
    for axes in (left, right):
        axes.set_xlabel("epoch")
        axes.set_xlim(left=0)
        axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    _error_axis(left)
    figure.legend(handles=_figure_3_legend(), loc="outside lower center", ncols=3)
    return figure


def _over(study: Study, left: Axes, right: Axes) -> None:
    panels = ((left, "test", ("test_error",)), (right, "train", ("train_error_masked", "train_error")))
    for axes, kind, columns in panels:
        for name, curve, _, colour in CURVES:
            _paper_curve(axes, f"{kind}_{curve}", colour, line=False)
            for column in columns:
                _our_curve(axes, study, name, column, colour)
        axes.set_title(f"{'Test' if kind == 'test' else 'Training'} error, {study.scale.name} scale")


def _beside(study: Study, left: Axes, right: Axes) -> None:
    for name, curve, _, colour in CURVES:
        _paper_curve(left, f"test_{curve}", colour, line=True)
        _paper_curve(left, f"train_{curve}", colour, line=True)
        for column in DASHES:
            _our_curve(right, study, name, column, colour)
    left.set_title("The paper")
    right.set_title(f"Ours, {study.scale.name} scale: not comparable")
    if not any(study.result(name).history for name, *_ in CURVES):
        right.text(0.5, 0.5, "not run", transform=right.transAxes, ha="center", color=MUTED)


DASHES: Mapping[str, Literal["-", "--", ":"]] = {"test_error": "-", "train_error_masked": "--", "train_error": ":"}


def _paper_curve(axes: Axes, curve: str, colour: str, *, line: bool) -> None:
    dash = DASHES["test_error" if curve.startswith("test") else "train_error_masked"] if line else "none"
    axes.plot(
        FIGURE_3.epochs,
        getattr(FIGURE_3, curve),
        color=colour,
        linestyle=dash,
        linewidth=0.9,
        marker="o",
        markersize=3.5,
        markerfacecolor="none",
        markeredgewidth=0.9,
    )


def _our_curve(axes: Axes, study: Study, experiment: str, column: str, colour: str) -> None:
    by_epoch = measured(study.result(experiment).history, column)
    epochs = sorted(by_epoch)
    if not epochs:
        return
    marker = "." if len(epochs) <= len(FIGURE_3.epochs) else ""
    means = [max(FLOOR, fmean(by_epoch[e])) for e in epochs]
    axes.plot(epochs, means, color=colour, linestyle=DASHES[column], marker=marker)
    if max(map(len, by_epoch.values())) > 1:
        low, high = ([max(FLOOR, bound(by_epoch[e])) for e in epochs] for bound in (min, max))
        axes.fill_between(epochs, low, high, color=colour, alpha=0.18, linewidth=0)


def _error_axis(axes: Axes) -> None:
    axes.set_yscale("log")
    axes.set_ylabel("error, % (logarithmic)")
    lowest, _ = axes.get_ylim()
    axes.set_yticks([tick for tick in ERROR_TICKS if tick >= lowest])
    axes.yaxis.set_major_formatter(lambda error, _: f"≤ {error:g}" if error == FLOOR else f"{error:g}")
    axes.minorticks_off()


def _figure_3_legend() -> list[Line2D]:
    words = {"test_error": "test", "train_error_masked": "training, masks on", "train_error": "training, masks off"}
    lines = [Line2D([], [], color=MUTED, linestyle=dash, label=words[column]) for column, dash in DASHES.items()]
    colours = [Line2D([], [], color=c, linewidth=5, label=label) for _, _, label, c in CURVES]
    circle = Line2D([], [], color=MUTED, linestyle="none", marker="o", markerfacecolor="none", label="the paper")
    return [lines[0], colours[0], lines[1], colours[1], lines[2], circle]


@dataclass(frozen=True)
class Step:
    """One layer as it is drawn: the block it stands in, what it does, and the size of what comes out of it."""

    block: str
    what: str
    maps: int
    side: int

    @property
    def is_convolution(self) -> bool:
        return self.what.startswith("conv")


def network_picture(study: Study) -> Picture:
    """Figure 2 in words, from the network itself."""
    run = study.run(drawn_experiment(study))
    steps = "; ".join(f"{s.block}, {s.what}: {s.maps} maps of {s.side} x {s.side}" for s in trace(study)[1:])
    width = "as wide as the paper's" if run.scale.width == 1 else f"{run.scale.width:g} times as wide as the paper's"
    return Picture(
        "network",
        "Figure 2: the network",
        f"{run.experiment.name} as it is built at this scale for {data_name(run.data.name)}, {width}: "
        f"{parameter_count(build(run)):,} parameters. Numbers are feature maps. Each "
        "block is a small perceptron that slides over the image; the last gives one map a class, and the mean of a "
        "map is the logit of its class.",
        f"The network from the image to the classes. {steps}; mean of each map.",
    )


def drawn_experiment(study: Study) -> str:
    """The reference where the scale has it, or else its first experiment."""
    names = [e.name for e in study.experiments]
    return REFERENCE if REFERENCE in names else names[0]


def trace(study: Study) -> list[Step]:
    """Send one blank image through the network and note what each convolution, pool and dropout makes of it."""
    run = study.run(drawn_experiment(study))
    net, steps = build(run).eval(), [Step("image", "", run.data.channels, run.data.size)]

    def note(block: str) -> Callable[[nn.Module, tuple[torch.Tensor, ...], torch.Tensor], None]:
        def hook(layer: nn.Module, _: tuple[torch.Tensor, ...], out: torch.Tensor) -> None:
            if out.ndim == 4 and (what := _words(layer)):
                steps.append(Step(block, what, out.shape[1], out.shape[2]))

        return hook

    for name, layer in net.named_modules():
        layer.register_forward_hook(note(name.partition(".")[0]))
    with torch.no_grad():
        net(torch.zeros(1, run.data.channels, run.data.size, run.data.size))
    return steps


def _words(layer: nn.Module) -> str:
    if isinstance(layer, nn.Conv2d):
        return f"conv {layer.kernel_size[0]}×{layer.kernel_size[1]}"
    if isinstance(layer, (nn.MaxPool2d, nn.AvgPool2d)):
        return f"{'max' if isinstance(layer, nn.MaxPool2d) else 'average'} pool {layer.kernel_size}×{layer.kernel_size}"
    return f"dropout {layer.rate:g}" if isinstance(layer, Dropout) else ""


def draw_network(study: Study) -> Figure:
    """Figure 2: the image, each convolution as a slab as high as its maps, what stands between, and the classes."""
    steps = trace(study)
    figure = Figure(figsize=(7.2, 2.5))
    axes = figure.subplots()
    axes.set_axis_off()
    axes.set_title(f"{drawn_experiment(study)}, {study.scale.name} scale")
    _slab(axes, 0.0, steps[0], steps[0].side, MUTED)
    axes.text(0.0, -0.98, f"image\n{steps[0].side} × {steps[0].side}", ha="center", va="center", size=8)
    x = 1.0
    for block, group in groupby(steps[1:], key=lambda step: step.block if step.is_convolution else ""):
        layers = list(group)
        x = _block(axes, x, block, layers, steps[0].side) if block else _between(axes, x, layers)
    _classes(axes, x + 0.35, steps[-1].maps)
    axes.set_xlim(-0.6, x + 0.9)
    axes.set_ylim(-1.2, 1.1)
    return figure


def _slab(axes: Axes, x: float, step: Step, image: int, colour: str) -> None:
    height = 1.15 * step.side / image
    axes.add_patch(Rectangle((x - 0.14, -height / 2), 0.28, height, color=colour, alpha=0.75, linewidth=0))
    axes.text(x, height / 2 + 0.05, f"{step.maps}", ha="center", va="bottom", size=8)
    axes.text(x, -height / 2 - 0.05, step.what.removeprefix("conv "), ha="center", va="top", size=7, color=MUTED)


def _block(axes: Axes, x: float, block: str, steps: Sequence[Step], image: int) -> float:
    """The slabs of one block in a frame, its name above and the size of its maps below; the x after it."""
    for i, step in enumerate(steps):
        _slab(axes, x + 0.55 * i, step, image, BLUE)
    right = x + 0.55 * (len(steps) - 1)
    box = FancyBboxPatch((x - 0.34, -0.8), right - x + 0.68, 1.66, boxstyle="round,pad=0,rounding_size=0.08")
    box.set(fill=False, edgecolor=MUTED, linewidth=0.8)
    axes.add_patch(box)
    axes.text((x + right) / 2, 0.93, block, ha="center", weight="bold", size=8.5)
    axes.text((x + right) / 2, -0.98, f"{steps[-1].side} × {steps[-1].side}", ha="center", va="center", size=8)
    return right + 0.75


def _between(axes: Axes, x: float, steps: Sequence[Step]) -> float:
    """Pool and dropout, as words between two blocks; the x after them."""
    words = "\n\n".join(step.what.replace(" ", "\n") for step in steps)
    axes.text(x + 0.05, 0.0, words, ha="center", va="center", size=7, color=INK)
    return x + 0.85


def _classes(axes: Axes, x: float, classes: int) -> None:
    shown = min(classes, 10)
    axes.scatter([x] * shown, [0.5 - i / max(1, shown - 1) for i in range(shown)], s=22, color=ORANGE)
    axes.text(x, 0.93, "map means", ha="center", weight="bold", size=8.5)
    axes.text(x, -0.98, f"{classes} logits", ha="center", va="center", size=8)
