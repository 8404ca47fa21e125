"""How quick training is on each machine that was measured, beside a plain loop and the machine's own ceiling."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, StrMethodFormatter

from niny.benchmark.results import AGREEMENT, kept, machine_name
from niny.evaluation.statistics import paired, summarise
from niny.report.drawing import Picture
from niny.report.study import Study
from niny.report.words import between, p_value, plural
from niny.style import BLUE, GREEN, INK, MUTED, ORANGE, PINK, SKY

PARTS = {"input": SKY, "forward": BLUE, "backward": ORANGE, "update": GREEN, "metrics": PINK}


def speed_picture(study: Study) -> Picture:
    """The figure in words."""
    told = [
        f"{machine_name(r['machine'])}: plain loop {r['plain_images_per_s']:,.0f}, engine {r['images_per_s']:,.0f} "
        f"images a second, {100 * r['ceiling_share']:.0f} % of the rate of a matrix product"
        for r in kept(study.root)
    ]
    return Picture(
        "speed",
        "Training speed, beside a plain loop and the machine's ceiling",
        "Left: images a second in training, augmentation and metrics included; the bar is where the network's "
        "operations would run at the rate of a large matrix product. Right: where the time of an update goes.",
        "Dot plot of training speed by machine. " + ("; ".join(told) or "Nothing was measured") + ".",
    )


def speed_table(study: Study) -> pd.DataFrame:
    """A row for each figure of `niny bench` that is no rate of the two loops, a column for each machine."""
    columns = {_label(result).replace("\n", " "): _figures(result) for result in kept(study.root)}
    return pd.DataFrame(columns).rename_axis("What").reset_index()


def _figures(result: Mapping[str, Any]) -> dict[str, str]:
    costs = result["costs"]
    batches = {f"images/s in batches of {n}": f"{v:,.0f}" for n, v in _by_number(result["images_per_s_by_batch"])}
    epochs = {f"s, an epoch of {n:,} images": f"{v:,.2f}" for n, v in _by_number(result["seconds_by_images"])}
    fitted, seen = costs["preprocessing_images"], costs["evaluation_images"]
    return (
        batches
        | epochs
        | {
            f"s, fitting GCN and ZCA to {fitted:,} images": f"{costs['preprocessing_fit_s']:,.2f}",
            f"s, applying them to {fitted:,} images": f"{costs['preprocessing_apply_s']:,.2f}",
            f"s, evaluating {seen:,} images": f"{costs['evaluation_s']:,.2f}",
            f"s, evaluating {seen:,} images in float32": f"{costs['final_evaluation_s']:,.2f}",
            f"s, class maps of {costs['grids_3x3']} 3 x 3 grids": f"{costs['grids_3x3_s']:,.2f}",
        }
    )


def agreements(root: Path) -> list[str]:
    """A sentence for each machine on which the same seeds were trained with the engine and without it."""
    return [_agreement(result) for result in kept(root, AGREEMENT)]


def _agreement(result: Mapping[str, Any]) -> str:
    found = {w: {int(seed): error for seed, error in errors.items()} for w, errors in result["test_errors"].items()}
    engine, plain = (summarise(list(found[way].values())) for way in ("engine", "plain"))
    pair, machine = paired(found["engine"], found["plain"]), result["machine"]
    assert pair.difference.interval is not None  # benchmarks/agreement.py trains two seeds at least
    where = machine["gpu"] or f"{machine['processor']}, {plural(machine['threads'], 'thread')}"
    apart = "were told apart" if pair.p is not None and pair.p < 0.05 else "were not told apart"
    return (
        f"Errors of the engine and of plain layers {apart} {'on a GPU' if machine['gpu'] else 'on a CPU'}: "
        f"{plural(pair.difference.n, 'seed')} of `{result['experiment']}` at scale `{result['scale']}`, trained by the "
        f"engine in {machine['precision']} and by plain layers in float32, ended at {engine.mean:.2f} ± "
        f"{engine.sd:.2f} % and {plain.mean:.2f} ± {plain.sd:.2f} % on the test images, paired differences "
        f"{pair.difference.mean:+.2f} points (95 %: {between(pair.difference.interval, '+.2f')}, p = "
        f"{p_value(pair.p)}; {where})."
    )


def _by_number(values: Mapping[str, float]) -> list[tuple[int, float]]:
    return sorted((int(name), value) for name, value in values.items())


def draw_speed(study: Study) -> Figure:
    """A line for each machine: rates on the left, parts of an update on the right."""
    results = kept(study.root)
    figure = Figure(figsize=(7.2, 1.7 + 0.5 * len(results)))
    rates, parts = figure.subplots(1, 2, width_ratios=(3, 2), sharey=True)
    for y, result in enumerate(results):
        _rates_line(rates, result, y)
        _parts_line(parts, result["parts_us_per_image"], y)
    rates.set_yticks(range(len(results)), [_label(r) for r in results])
    rates.set_ylim(len(results) - 0.4, -0.6)
    rates.set_xscale("log")
    rates.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    rates.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    rates.minorticks_off()
    rates.set_xlabel("training images / s")
    parts.set_xlabel("time of an update, %")
    for axes in (rates, parts):
        axes.grid(axis="y", visible=False)
    if not results:
        rates.annotate("nothing was measured", (0.5, 0.5), xycoords="axes fraction", ha="center", color=MUTED)
    _legend(figure, parts)
    return figure


def _label(result: Mapping[str, Any]) -> str:
    machine = result["machine"]
    return machine["gpu"] or f"{machine['processor']},\n{machine['threads']} threads, {machine['precision']}"


def _rates_line(axes: Axes, result: Mapping[str, Any], y: int) -> None:
    most = result["ceiling_flops_per_s"] / result["training_flops_per_image"]
    axes.plot([result["plain_images_per_s"]], [y], "o", color="none", markeredgecolor=INK, markersize=6)
    axes.plot([result["images_per_s"]], [y], "o", color=BLUE, markersize=6)
    axes.plot([most], [y], "|", color=INK, markersize=14, markeredgewidth=2)
    note = f"{result['ratio']:.1f} ×, {100 * result['ceiling_share']:.0f} % of ceiling"
    place = (result["images_per_s"], y)
    axes.annotate(note, place, xytext=(0, 9), textcoords="offset points", ha="center", color=MUTED, fontsize="small")


def _parts_line(axes: Axes, seconds: Mapping[str, float], y: int) -> None:
    left, total = 0.0, sum(seconds.values())
    for part, colour in PARTS.items():
        share = 100 * seconds[part] / total
        axes.barh(y, share, left=left, height=0.45, color=colour, label=part if y == 0 else None)
        left += share


def _legend(figure: Figure, parts: Axes) -> None:
    marks = [
        Line2D([], [], linestyle="none", marker="o", color="none", markeredgecolor=INK, label="plain loop"),
        Line2D([], [], linestyle="none", marker="o", color=BLUE, label="engine"),
        Line2D([], [], linestyle="none", marker="|", color=INK, markersize=12, markeredgewidth=2, label="ceiling"),
    ]
    bars, _ = parts.get_legend_handles_labels()
    figure.legend(handles=[*marks, *bars], loc="outside lower center", ncols=4)
