"""The report as a sequence of sections, each with its words, tables and figures, before it becomes a page.

The same sections make report.html and README.md, so both show the same numbers. Words carry numbers of records and
of params.yaml alone; text between backticks is set as code.
"""

from collections import Counter
from typing import get_args

import pandas as pd

from niny.evaluation.rules import Status
from niny.paper import TABLES, TEXT, Results
from niny.report.drawing import Picture
from niny.report.figures import errors_picture, figure_3_picture, network_picture
from niny.report.parts import Article, Image, Section, Table
from niny.report.speed import speed_picture
from niny.report.study import Study, data_name, scale_label
from niny.report.tables import (
    choices_table,
    claims_table,
    commits,
    cost_table,
    distinct,
    duration,
    each_run_table,
    energy,
    hardware,
    missing_table,
    operations,
    paper_table,
    reproduce_table,
    scores_table,
    table_name,
    training_flops,
)
from niny.report.trust import trust


def write_article(study: Study) -> Article:
    sections = (
        glance(study),
        asked(study),
        verdicts(study),
        paper_tables(study),
        curves(study),
        class_maps(study),
        left_open(study),
        cost(study),
        trust(study),
        not_run(study),
        again(study),
    )
    banner = "; ".join((study.scale.title, *departures(study)))
    return Article(
        "Network In Network, run again", scale_label(study.scale), study.scale.evidence, banner, facts(study), sections
    )


def departures(study: Study) -> list[str]:
    """How this scale differs from the paper's experiments, from params.yaml."""
    runs = [study.run(e.name) for e in study.experiments]
    swapped = {(r.data.name, r.experiment.dataset) for r in runs if r.data.name != r.experiment.dataset}
    told = [f"trained and tested on {data_name(a)}, where the paper has {data_name(b)}" for a, b in sorted(swapped)]
    if study.scale.width != 1:
        told.append(f"{study.scale.width:g} times the paper's number of feature maps")
    if study.scale.phases is not None:
        told.append(f"{sum(epochs for epochs, _ in study.scale.phases)} epochs")
    if study.scale.recipe is not None:
        told.append(f"training recipe `{study.scale.recipe}` in place of the authors'")
    return told


def facts(study: Study) -> tuple[tuple[str, str], ...]:
    runs, wanted = study.runs, len(study.experiments) * study.scale.seeds
    counted = [(f"{len(runs)} of {wanted}", "runs recorded"), (str(len(study.experiments)), "experiments")]
    if study.scale.evidence:
        counted += [(str(n), f"claims {status}") for status, n in tally(study)]
    if collapsed := int((runs["state"] == "collapsed").sum()):
        counted.append((str(collapsed), "runs collapsed"))
    counted.append((duration(runs["training_seconds"].sum()) if len(runs) else "none", "training time"))
    return tuple(counted)


def tally(study: Study) -> list[tuple[str, int]]:
    """How many of the paper's claims have which verdict, under the present rules; the clear ones first."""
    versions = {claim.id: claim.version for claim in study.claims if claim.origin == "paper"}
    counts = Counter(r["status"] for r in study.verdicts if versions.get(r["id"]) == r["version"])
    return [(status, counts[status]) for status in get_args(Status) if counts[status]]


def glance(study: Study) -> Section:
    return Section("glance", "At a glance", (lead(study),), (image(study, errors_picture(study)),))


def lead(study: Study) -> str:
    """The first paragraph: what these numbers can say."""
    if not len(study.runs):
        return f"Nothing is recorded at this scale yet. Run `{report_command(study)}` to fill this page."
    if study.scale.evidence:
        counts = ", ".join(f"{n} {status}" for status, n in tally(study))
        return f"The paper's claims, each judged by a rule written before the runs: {counts}."
    return (
        "These numbers show that the study runs from end to end, and what its networks learn in the time they had. "
        "They are no test of the paper, whose numbers stand beside them as what is not yet tested."
    )


def asked(study: Study) -> Section:
    ours = sum(claim.origin == "niny" for claim in study.claims)
    tables = ", ".join(part.place for part in TABLES)
    words = (
        "Lin, Chen and Yan (2013, arXiv:1312.4400) replace the linear filters of a convolutional network with small "
        "perceptrons, and its fully connected layers with the mean of one feature map a class. They report one run of "
        f"each experiment ({tables}, and errors in sections {' and '.join(part.section for part in TEXT)}), without "
        "repeats or intervals.",
        f"This study rebuilds the network, trains it and its ablations again, and asks of {len(study.claims) - ours} "
        f"statements whether they hold; {ours} more are its own predictions. Each has a rule, and what would refute "
        "it, in `claims.yaml`.",
    )
    return Section("asked", "What was asked", words, (image(study, network_picture(study)),))


def verdicts(study: Study) -> Section:
    words = (
        "A number of the paper is supported when it lies inside the 95 % interval of one more run of ours. Fewer runs "
        "than a rule asks for leave a claim undecided. Errors are per cent, differences points of it or, for "
        "reductions, per cent of the larger; scores of maps are shares.",
    )
    frame, origins = claims_table(study), {claim.id: claim.origin for claim in study.claims}
    ours = frame["Claim"].map(lambda name: origins[name.partition(" ")[0]] == "niny").astype(bool)
    titles = (("The paper's claims", ~ours), ("Predictions of this study", ours))
    tables = [table(study, title, compact(study, frame[which]), "claims") for title, which in titles if which.any()]
    return Section("verdicts", "Verdicts", words, tuple(tables))


def compact(study: Study, frame: pd.DataFrame) -> pd.DataFrame:
    """The table of claims with id and place under the words, and the reason under the verdict."""
    why = "\n" + frame["Why"] if study.scale.evidence else ""
    said = frame["What it says"] + "\n" + frame["Claim"] + ", " + frame["Place"]
    return frame.assign(Claim=said, Verdict=frame["Verdict"] + why).drop(columns=["Place", "What it says", "Why"])


def paper_tables(study: Study) -> Section:
    words = (
        "Every row of the paper's tables. Rows with a number in brackets are results of others as the paper quotes "
        "them; nobody reran them here. Errors are per cent of the test images, ours as mean ± standard deviation over "
        "n runs; collapsed runs are counted beside n and enter no mean.",
    )
    tables = tuple(one_paper_table(study, part) for part in TABLES + TEXT)
    return Section("tables", "The paper's tables", words, tables)


def one_paper_table(study: Study, part: Results) -> Table:
    tested = {study.run(r.experiment).data.name for r in part.rows if r.experiment in study.results and r.experiment}
    swapped = sorted(tested - {part.data})
    note = f"Ours were trained and tested on {' and '.join(map(data_name, swapped))}." if swapped else ""
    names = [row.experiment for row in part.rows if row.experiment]
    frame = paper_table(study, part)
    return table(study, f"{part.place}. {part.title}", frame, table_name(part), names, note)


def curves(study: Study) -> Section:
    words = (
        "The paper draws its curves for the phase of constant learning rate only: neither of the errors in its text "
        "occurs in them.",
    )
    return Section("curves", "Learning curves", words, (image(study, figure_3_picture(study)),))


def class_maps(study: Study) -> Section:
    words = [
        "With global average pooling the last layer makes one map a class. The paper shows twenty images of its "
        "choice; the scores here are over test images, beside what chance or a map that knows only the centre would "
        "give."
    ]
    items: list[Table | Image] = [map_image(study, name) for name in mapped(study)]
    scores = scores_table(study)
    if len(scores):
        shown = scores[scores["Score"].map(is_headline)].map(lambda cell: cell.replace("; nulls", "\nnulls"))
        note = "The table's file has every score, by class, subset and kind of canvas."
        items.append(table(study, "Scores of the class maps", shown, "map-scores", list(scores.columns[1:]), note))
    else:
        words.append("No scores of class maps are recorded at this scale.")
    return Section("maps", "What the class maps say", tuple(words), tuple(items))


def is_headline(score: str) -> bool:
    """Whether a score is of all images in one reading; of canvases, boxes and agreement, that of the raw maps."""
    return score.count(".") < 2 or (score.startswith(("place", "box", "agreement_rank")) and ".raw" in score)


def mapped(study: Study) -> list[str]:
    """Experiments whose maps should be here, those with global average pooling, and others that have a picture."""
    folder = study.folder / "figures"
    return [e.name for e in study.experiments if e.head == "gap" or (folder / f"maps-{e.name}.png").is_file()]


def map_image(study: Study, experiment: str) -> Image:
    picture = Picture(
        f"maps-{experiment}",
        f"Class maps of {experiment}",
        "Test images and their class maps, one a class; compare figure 4 of the paper.",
        f"Test images, each with the class maps that {experiment} makes of it.",
    )
    command = f"dvc repro maps@{study.scale.name}-{experiment}"
    return Image(picture, f"figures/{picture.name}.png", command, origin(study.of(experiment)))


def left_open(study: Study) -> Section:
    words = (
        "What the paper does not print, what was chosen at the paper's scale and after whom, and, where an experiment "
        "differs from `cifar10-nin` in that alone, what choosing otherwise does to the test error."
    )
    recipe = f" This scale trains with the recipe `{study.scale.recipe}` instead." if study.scale.recipe else ""
    frame = choices_table(study)
    chosen = frame["Chosen here"] + "\n" + frame["Source"]
    choices = table(
        study, "Open choices", frame.assign(**{"Chosen here": chosen}).drop(columns="Source"), "open-choices"
    )
    return Section("open", "What the paper leaves open", (words + recipe,), (choices,))


def cost(study: Study) -> Section:
    runs = study.runs
    total = (
        f"{len(runs)} runs took {duration(runs['training_seconds'].sum())} of training and "
        f"{operations(training_flops(runs))} on {distinct(hardware(runs))}. Energy: {energy(runs)}."
        if len(runs)
        else "Nothing was run."
    )
    words = (f"{total} Forward operations are counted by PyTorch; a training step is taken as three forward passes.",)
    frame = cost_table(study)
    machine = frame["Hardware"] + "\n" + frame["Precision"]
    speed = Image(speed_picture(study), "figures/speed.svg", "niny bench", "results/benchmarks")
    costs = frame.assign(Hardware=machine).drop(columns="Precision")
    items: list[Table | Image] = [table(study, "Cost of each experiment", costs, "cost"), speed]
    if len(runs):
        note = "Sampling is the error that comes from testing on so many images and no more (Wilson's interval)."
        items.append(table(study, "Every run", each_run_table(study), "runs", note=note))
    return Section("cost", "What it cost", words, tuple(items))


def not_run(study: Study) -> Section:
    words = ("Nothing below may be read as a result.",)
    missing = table(study, "Not run", missing_table(study), "missing")
    return Section("missing", "What was not run, and why", words, (missing,))


def again(study: Study) -> Section:
    words = (
        f"`{report_command(study)}` makes this page and all that it needs, and trains only what has no record. One "
        "experiment alone is trained by its command below. Every run folder holds its errors, its curve, the class it "
        "predicted for each test image, and the machine, versions and commit it was made with.",
    )
    runs = table(study, "Runs and commands", reproduce_table(study), "reproduce")
    return Section("again", "How to make it again", words, (runs,))


def report_command(study: Study) -> str:
    return f"dvc repro report@{study.scale.name}"


def table(
    study: Study, title: str, frame: pd.DataFrame, name: str, experiments: list[str] | None = None, note: str = ""
) -> Table:
    runs = study.runs if experiments is None else study.runs[study.runs["experiment"].isin(experiments)]
    return Table(title, frame, f"tables/{name}.csv", report_command(study), origin(runs), note)


def image(study: Study, picture: Picture) -> Image:
    return Image(picture, f"figures/{picture.name}.svg", report_command(study), origin(study.runs))


def origin(runs: pd.DataFrame) -> str:
    """The run folders behind numbers, and the commits they were made at, in words."""
    names = list(dict.fromkeys(runs["experiment"]))
    if not names:
        return "no runs yet"
    where = ", ".join(f"runs/{name}" for name in names) if len(names) <= 3 else "runs/"
    return f"{len(runs)} run{'s' if len(runs) > 1 else ''} in {where}, commit {distinct(commits(runs))}"
