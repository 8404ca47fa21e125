"""The report as a sequence of sections, each with its words, tables and figures, before it becomes a page.

The same sections make report.html and README.md, so both show the same numbers. Words carry numbers of records and
of params.yaml alone; text between backticks is set as code.
"""

from collections import Counter
from dataclasses import replace
from typing import Any, get_args

import pandas as pd

from niny.benchmark.results import kept, machine_name
from niny.evaluation.rules import Status
from niny.evaluation.statistics import paired
from niny.paper import FIGURE_3, TABLES, TEXT, Results, reported
from niny.report.choices import choices_table
from niny.report.class_maps import authors_network, class_maps
from niny.report.explorer import explorer_command, load_explorer
from niny.report.figures import CURVES, errors_picture, figure_3_picture, network_picture
from niny.report.pairs import not_alike, pairs_table
from niny.report.parts import Article, Image, Section, Table, image, origin, report_command, table, tables_command
from niny.report.questions import answered, finding, scored_of
from niny.report.speed import agreements, speed_picture, speed_table
from niny.report.spread import families, mixtures, spread_findings, spread_table
from niny.report.study import REFERENCE, Study, data_name, other_rates, rate_share, scale_kind, scale_label
from niny.report.tables import (
    NO_NUMBER,
    claims_table,
    commits,
    cost_table,
    each_run_table,
    energy,
    missing_table,
    operations,
    paper_table,
    quickest,
    reproduce_table,
    spent,
    table_name,
    time_by_hardware,
    training_flops,
)
from niny.report.trials import died_elsewhere, silenced, trial_runs, trial_scale, trials_table
from niny.report.trust import trust
from niny.report.words import NONE, between, distinct, duration, listed, plural

PAIRS = (
    "The difference is that of the test errors, first less second, in points, with its 95 % interval over n seeds; "
    "wins are the share of seeds in which the first errs less, ties by half. Image by image, in the first seed of "
    "both: how many test images the first alone and the second alone gets right (McNemar's exact test), which tells "
    "two trained networks apart, not two ways of training. p values are Holm-corrected within each column, intervals "
    "are each pair's own."
)

JUDGED = (
    "A number of the paper is supported when it lies inside the 95 % interval of one more run of ours (the prediction "
    "interval) and that is no wider than its rule in `claims.yaml` allows; where it lies outside, it is refuted. Fewer "
    "runs than a rule asks for leave a claim undecided. Errors are in per cent, differences in percentage points, "
    "reductions by dropout in per cent of the error without it; scores of maps are shares; of a curve the number is "
    "the mean distance from the paper's points, in percentage points. Of an ordering it is our smallest margin between "
    "neighbours, below zero where they lie the other way round, and the paper's is of the same pair. The interval is "
    "of what the rule looks at: one more run, or the mean over runs of a difference, a distance or a score; with one "
    "run a score has that over images."
)


def write_article(study: Study) -> Article:
    sections = (
        glance(study),
        asked(study),
        verdicts(study),
        paper_tables(study),
        curves(study),
        class_maps(study),
        *authors_network(study),
        explore(study),
        left_open(study),
        *chance(study),
        cost(study),
        trust(study),
        not_run(study),
        again(study),
    )
    return Article(
        "Network In Network, run again",
        study.scale.name,
        scale_label(study.scale),
        scale_kind(study.scale),
        banner(study),
        facts(study),
        sections,
    )


def banner(study: Study) -> str:
    """The scale in words, and what of it the title does not say already."""
    title = study.scale.title[0].upper() + study.scale.title[1:]
    return "; ".join([title, *(told for told in departures(study) if told not in title)])


def departures(study: Study) -> list[str]:
    """How this scale differs from the paper's experiments, from params.yaml."""
    runs = [study.run(e.name) for e in study.experiments]
    swapped = {(r.data.name, r.experiment.dataset) for r in runs if r.data.name != r.experiment.dataset}
    told = [f"trained and tested on {data_name(a)}, where the paper has {data_name(b)}" for a, b in sorted(swapped)]
    if study.scale.width != 1:
        told.append(f"{study.scale.width:g} times the paper's number of feature maps")
    if study.scale.phases is not None:
        told.append(plural(sum(epochs for epochs, _ in study.scale.phases), "epoch"))
    if study.scale.recipe is not None:
        told.append(f"training recipe `{study.scale.recipe}` in place of the authors'")
    return told


def facts(study: Study) -> tuple[tuple[str, str], ...]:
    runs = study.runs
    counted = [(f"{study.recorded} of {study.wanted}", "runs recorded"), (str(len(study.experiments)), "experiments")]
    if study.scale.evidence:
        counted += [(str(n), f"claims {status}") for status, n in tally(study)]
    if collapsed := int((runs["state"] == "collapsed").sum()):
        counted.append((str(collapsed), "runs collapsed"))
    for kind, mine in (("on GPUs", runs[runs["gpu"].notna()]), ("on CPUs", runs[runs["gpu"].isna()])):
        if len(mine):
            counted.append((duration(float(spent(mine).sum())), f"training {kind}"))
    return tuple(counted)


def tally(study: Study) -> list[tuple[str, int]]:
    """How many of the paper's claims have which verdict, under the present rules; the clear ones first."""
    versions = {claim.id: claim.version for claim in study.claims if claim.origin == "paper"}
    counts = Counter(r["status"] for r in study.verdicts if versions.get(r["id"]) == r["version"])
    return [(status, counts[status]) for status in get_args(Status) if counts[status]]


def glance(study: Study) -> Section:
    found = headlines(study)
    words = (*found[:1], lead(study), *found[1:])
    return Section("glance", "At a glance", words, (image(study, errors_picture(study)),))


def lead(study: Study) -> str:
    """What these numbers can say."""
    if not len(study.runs):
        return f"Nothing is recorded at this scale yet. Run `{report_command(study)}` to fill this page."
    if study.scale.evidence:
        counts = listed([f"{n} {status}" for status, n in tally(study)])
        return f"Each of the paper's claims is judged by a rule: {counts}. {when(study)}"
    return (
        "These numbers show that the study runs from end to end, and what its networks learn in the time they had. "
        "They do not test the paper; its numbers stand beside them for orientation."
    )


def when(study: Study) -> str:
    """Which rules for the paper's claims were there before the runs that they judge."""
    theirs = [claim for claim in study.claims if claim.origin == "paper"]
    changed = sum(claim.version > 1 for claim in theirs)
    late, later = (sum(when in claim.place and claim.version == 1 for claim in theirs) for when in (AFTER, LATER))
    told = [f"{len(theirs) - changed - later} of the {len(theirs)} rules were written before the runs of this scale"]
    if late:
        told.append(f", {late} of these after runs at smaller scales")
    if later:
        told.append(f"; {later} were written after runs of this scale")
    if changed:
        told.append(f"; {changed} were changed after runs, and those that had judged stay in the table of verdicts")
    return "".join((*told, "."))


def headlines(study: Study) -> list[str]:
    """What was found, in a few sentences: the reference's error, what its parts do to it, its maps."""
    error = study.errors(REFERENCE)
    if error.mean is None:
        return []
    data = data_name(study.run(REFERENCE).data.name)
    epochs = distinct(study.of(REFERENCE, "finished")["epochs"])
    told = [f"After {epochs} epochs `{REFERENCE}` errs on {error.mean:.2f} % of the test images of {data}."]
    if error.prediction:
        told.append(f"That is the mean of {error.n} runs; one more would lie in {between(error.prediction)} (95 %).")
    if study.scale.evidence:
        told.append(f"The paper has {paper_error()} %.")
    told += [difference(study, other, words) for other, words in COMPARED.items()]
    asked = [question for question in answered(study) if question.headline]
    maps = [finding(study, question) for question in asked]
    if any("null" in text for text in maps):
        maps.insert(0, NULLS_MEAN)
    if asked and all(len(scored_of(study, question).seeds) < 2 for question in asked):
        maps.append("These intervals are over images, of one network.")
    return [text for text in (" ".join(filter(None, told)), " ".join(maps)) if text]


FORGOTTEN = 1.0  # per cent of the training images: more are lost again than mistakes that come and go
AFTER = "rule written after runs at small scales"  # as claims.yaml says it
LATER = "rule written after runs at paper scale"  # likewise
NULLS_MEAN = "Scores of class maps stand beside their nulls: what the same score gives for maps that know less."
COMPARED = {
    "cifar10-nin-nodropout": "Without dropout",
    "cifar10-nin-fc": "With a fully connected layer in place of the means of maps",
}


def paper_error() -> str:
    return f"{reported()[REFERENCE]:.2f}"


def difference(study: Study, other: str, words: str) -> str:
    """How much more another experiment errs than the reference, over the seeds that both have; empty without any."""
    pair = paired(study.result(other).test_errors, study.result(REFERENCE).test_errors).difference
    if pair.mean is None:
        return ""
    sure = f"95 % interval {between(pair.interval, '+.2f')}" if pair.interval else "one run each"
    paper = f"; in the paper {reported()[other] - reported()[REFERENCE]:+.2f}" if study.scale.evidence else ""
    share = rate_share(study, other)
    rate = f", at {share:g} of the learning rate," if share != 1 else ""
    side = "higher" if pair.mean > 0 else "lower"
    return f"{words}{rate} the error is {abs(pair.mean):.2f} points {side} ({sure}{paper})."


def asked(study: Study) -> Section:
    ours = sum(claim.origin == "niny" for claim in study.claims)
    tables = f"tables {TABLES[0].place.split()[-1]} to {TABLES[-1].place.split()[-1]}"
    words = (
        "Lin, Chen and Yan (2013, arXiv:1312.4400) replace the linear filters of a convolutional network with small "
        "perceptrons, and its fully connected layers with the mean of one feature map a class. They report one run of "
        f"each experiment ({tables}, and errors in sections {listed([part.section for part in TEXT])}), without "
        "repeats or intervals.",
        f"This study rebuilds the network, trains it and its ablations again, and asks of {len(study.claims) - ours} "
        f"statements whether they hold; {ours} more are its own predictions. Each has a rule, and what would refute "
        "it, in `claims.yaml`.",
    )
    made = "no run: drawn from the model that `params.yaml` asks for"
    network = replace(image(study, network_picture(study)), origin=made)
    return Section("asked", "What was asked", words, (network,))


def verdicts(study: Study) -> Section:
    frame, origins = claims_table(study), {claim.id: claim.origin for claim in study.claims}
    ours = frame["Claim"].map(lambda name: origins[name.partition(" ")[0]] == "niny").astype(bool)
    known = ~frame["Ours"].isin((*NO_NUMBER, "one run", NONE))
    tables = claim_tables(study, "The paper's claims", frame[~ours], known[~ours])
    tables += claim_tables(study, "Predictions of this study", frame[ours], known[ours])
    return Section("verdicts", "Verdicts", (JUDGED,), tuple(tables))


def claim_tables(study: Study, title: str, frame: pd.DataFrame, known: "pd.Series[bool]") -> list[Table]:
    """Claims with a number, and folded behind them those without; where none has one, all of them openly."""
    if not len(frame):
        return []
    if not known.any() or known.all():
        return [table(study, title, compact(study, frame), "claims")]
    now = ~frame["Claim"].str.contains(" (version ", regex=False)
    rest = f"{title}: {(now & ~known).sum()} of {now.sum()} have no number at this scale"
    shown, hidden = compact(study, frame[known]), compact(study, frame[~known])
    return [table(study, title, shown, "claims"), table(study, rest, hidden, "claims", folded=True)]


def compact(study: Study, frame: pd.DataFrame) -> pd.DataFrame:
    """The table of claims with id and place under the words, and the reason under the verdict."""
    why = "\n" + frame["Why"] if study.scale.evidence else ""
    said = frame["What it says"] + "\n" + frame["Claim"] + ", " + frame["Place"]
    return frame.assign(Claim=said, Verdict=frame["Verdict"] + why).drop(columns=["Place", "What it says", "Why"])


def paper_tables(study: Study) -> Section:
    words = (
        "Every row of the paper's tables. Rows with a number in brackets are results of others as the paper quotes "
        "them; nobody reran them here. Errors are per cent of the test images, ours as mean ± standard deviation over "
        "n runs, with the 95 % t interval of the mean and that of one more run; collapsed runs and attempts are "
        "counted beside n and enter no mean.",
    )
    tables = [one_paper_table(study, part) for part in TABLES + TEXT]
    return Section("tables", "The paper's tables", words, (*tables, *pair_by_pair(study)))


def pair_by_pair(study: Study) -> tuple[Table, ...]:
    """Networks held against each other, where two have a seed in common."""
    frame = pairs_table(study)
    names = [*{*frame["First"], *frame["Second"]}]
    note = PAIRS + not_alike(study)
    return (table(study, "Pair by pair", frame, "pairs", names, note),) if len(frame) else ()


def one_paper_table(study: Study, part: Results) -> Table:
    tested = {study.run(r.experiment).data.name for r in part.rows if r.experiment in study.results and r.experiment}
    swapped = sorted(tested - {part.data})
    note = f"Ours were trained and tested on {' and '.join(map(data_name, swapped))}." if swapped else ""
    names = [row.experiment for row in part.rows if row.experiment]
    note = f"{note} {other_rates(study, names)}".strip()
    frame = paper_table(study, part)
    frame["n"] = frame["n"].str.replace(" (", "\n(", regex=False)
    return table(study, f"{part.place}. {part.title}", frame, table_name(part), names, note)


def curves(study: Study) -> Section:
    words = (
        "The paper very likely draws its curves for the phase of constant learning rate only: they end at "
        f"{FIGURE_3.test_dropout[-1]:.2f} % with dropout and {FIGURE_3.test_no_dropout[-1]:.2f} % without, not at the "
        f"{paper_error()} and {reported()[CURVES[0][0]]:.2f} % of its text.",
        *(told for name, _, label, _ in CURVES for told in by_heart(study, name, label)),
    )
    return Section(
        "curves", "Learning curves", words, (image(study, figure_3_picture(study), [name for name, *_ in CURVES]),)
    )


def by_heart(study: Study, experiment: str, label: str) -> list[str]:
    """Of each run that came to know the training images and lost some again at the first learning rate: when."""
    told = []
    for seed, rows in study.result(experiment).history.items():
        first = study.run(experiment).recipe.phases[0][0]
        errors = {row["epoch"]: row["train_error_masked"] for row in rows if row["epoch"] <= first}
        least = min(errors, key=errors.__getitem__, default=0)
        later = {epoch: error for epoch, error in errors.items() if epoch > least}
        if later and not errors[least] and (most := max(later, key=later.__getitem__)) and later[most] > FORGOTTEN:
            told.append(
                f"Ours {label} (seed {seed}) gets every training image right by epoch {least:g}, and "
                f"{later[most]:.1f} % of them wrong again in the course of epoch {most:g}, at the same learning rate."
            )
    return told


def explore(study: Study) -> Section:
    """The class maps to be looked into, by pointer or keys."""
    explorer = load_explorer(study, origin(study, [REFERENCE]))
    if explorer is None:
        command = explorer_command(study)
        missing = f"No explorer of the class maps has been made at this scale: run `{command}`, then make this page."
        return Section("explorer", "Explorer", (missing,))
    followed = "The first are followed through the epochs of training. " if explorer.epochs else ""
    words = (
        f"The class maps of `{REFERENCE}` on {explorer.images} test images, in every reading, with what each cell sees "
        f"of the image. {followed}They were drawn at random, with recognised and misclassified images of each class "
        "where there are any; none was chosen by its looks."
    )
    return Section("explorer", "Explorer", (words,), (explorer,))


def left_open(study: Study) -> Section:
    words = (
        "What the paper does not print, what was chosen at the paper's scale and after whom, and, where an experiment "
        f"chooses otherwise, what that does to the error: to that of `{REFERENCE}` unless another is named. What this "
        "scale has no runs of is taken from another, which is named, too: of fewer epochs or smaller networks, it need "
        "not be so at full length."
    )
    recipe = f" This scale trains with the recipe `{study.scale.recipe}`." if study.scale.recipe else ""
    frame = choices_table(study)
    chosen = frame["Chosen here"] + "\n" + frame["Source"]
    choices = table(
        study, "Open choices", frame.assign(**{"Chosen here": chosen}).drop(columns="Source"), "open-choices"
    )
    scale = trial_scale(study.params)
    tried = (tried_table(study, scale),) if scale else ()
    return Section("open", "What the paper leaves open", (words + recipe,), (choices, *tried))


def tried_table(study: Study, scale: str) -> Table:
    """The trials of choices. Their records lie at the scale that holds images out, not at this one."""
    runs, frame = trial_runs(study, scale), trials_table(study, scale)
    command = f"niny campaign --scale {scale} --only {' '.join(dict.fromkeys(frame['Experiment']))}"
    held = f"{study.params.scale(scale).holdout:,}"
    note = (
        f"Runs on all but the last {held} training images, a line each. The error is that on these, with its sampling "
        "error (95 %): no test image was looked at. Means and whitening are of all training images. A few epochs tell "
        "what learns at once and what dies, not what would learn later. The scaling of MNIST was chosen by its trials. "
        "The learning rate without dropout was chosen before them, since at the authors' the network had died in "
        "training, and maxout's after it gave no numbers. The trials of these and of all others are checks, some of "
        "them made after the runs at paper scale. Collapsed is a run that ends at chance, or whose outputs all died in "
        "each of three attempts."
        f"{silenced(study, scale, runs)}{died_elsewhere(study, scale)}"
    )
    tried = frame["Tried"] + "\n" + frame["Experiment"]
    shown = table(
        study, "Tried on held-out images", frame.assign(Tried=tried).drop(columns="Experiment"), "trials", note=note
    )
    made = f"{plural(len(runs), 'run')} in `results/{scale}/runs`, by `{command}`, commit {distinct(commits(runs))}"
    return replace(shown, origin=made if len(runs) else f"no runs yet: `{command}`")


def chance(study: Study) -> tuple[Section, ...]:
    """Where the differences between runs come from, at scales that ask it."""
    if not families(study):
        return ()
    words = (
        "Runs of one experiment differ by chance alone. Here one source of it at a time varies from run to run, while "
        "the others stay as in run 0. Run 0 is thus the same training for every experiment here, and counts for each "
        "whose other runs were made on the same kind of machine. Ratios of variances need not add up to 1, since "
        "sources act on one another. Intervals (chi-square, F) take runs for normally distributed; what is told apart "
        "is so by F tests, with Holm's correction for several sources.",
        *mixtures(study),
        *spread_findings(study),
    )
    names = [e.name for family in families(study) for e in family.members]
    spread = table(study, "Spread by its source", spread_table(study), "spread", names)
    return (Section("chance", "Where the differences between runs come from", words, (spread,)),)


def cost(study: Study) -> Section:
    runs = study.runs
    note = "Forward operations are counted by PyTorch; a training step is taken as three forward passes."
    items: list[Table | Image] = []
    if len(runs):
        items.append(of_experiments(study))
        items.append(
            table(study, "Every run", each_run_table(study), "runs", note=of_runs(study), folded=len(runs) > 10)
        )
    benchmarks = kept(study.root)
    told = "nothing measured yet: run `niny bench`"
    if benchmarks:
        machines = plural(len(benchmarks), "machine")
        told = f"{machines} in `results/benchmarks`, measured by `niny bench` at commit {measured_at(benchmarks)}"
    items.append(Image(speed_picture(study), "figures/speed.svg", tables_command(study), told))
    if benchmarks:
        title = "What else takes time, by machine"
        items.append(Table(title, speed_table(study), "tables/speed.csv", tables_command(study), told))
    return Section("cost", "What it cost", (f"{total_cost(study)} {note}", *agreements(study.root)), tuple(items))


def of_experiments(study: Study) -> Table:
    """What each experiment cost; what is the same for all of them is said once."""
    costs = cost_table(study)
    costs = costs[costs["n"] != "0"]
    same = [name for name in ("Energy", "Precision", "Hardware") if costs[name].nunique() == 1]
    note = "Of all: " + "; ".join(f"{name.lower()} {costs[name].iloc[0]}" for name in same) + "." if same else ""
    return table(study, "Cost of each experiment", costs.drop(columns=same), "cost", note=note)


def total_cost(study: Study) -> str:
    runs = study.runs
    if not len(runs):
        return "Nothing was run."
    return (
        f"{plural(len(runs), 'run')} took {operations(training_flops(runs))}: {time_by_hardware(runs)}. "
        f"Energy: {energy(runs)}.{attempts_lost(runs)}"
    )


def attempts_lost(runs: pd.DataFrame) -> str:
    lost = int(runs["lost_epochs"].sum())
    if not lost:
        return ""
    return f" This includes {plural(lost, 'epoch')} of attempts that collapsed, timed by the attempts after them."


def measured_at(benchmarks: list[dict[str, Any]]) -> str:
    return distinct(commits(pd.DataFrame(benchmarks, columns=["commit", "changed"])))


def of_runs(study: Study) -> str:
    """What the columns of the table of runs are, and how often test images were looked at."""
    every = study.scale.evaluate_every
    looks = "every epoch" if every == 1 else f"every {every} epochs"
    return (
        f"Test % is the error after the last epoch. The test images are looked at {looks} for figure 3's curves (as "
        "much more rarely where a run trains on a part of the images); nothing is chosen by that. Train % is of the "
        f"first {study.scale.probe_images:,} training images, or of as many as there are, masks off, and so is every "
        "gap between the two. Sampling is the error that comes from testing on so many images and no "
        "more (Wilson's interval)."
    )


def not_run(study: Study) -> Section:
    words = (
        "Nothing below may be read as a result. Where no other reason is given, seeds are missing for want of time on "
        "the machines at hand: the last table of this page has what a run takes at this scale.",
    )
    why = missing_table(study).groupby("Why", sort=False)["Not run"].agg(", ".join).rename("Missing").reset_index()
    return Section("missing", "What was not run, and why", words, (table(study, "Not run", why, "missing"),))


def estimated(study: Study) -> str:
    """For which machine the times of runs that are not recorded are told."""
    found = quickest(study)
    if found is None:
        return ""
    machine = machine_name(found["machine"])
    least = "the least that its operations take on the quickest machine of `niny bench`"
    return f" Where none is recorded: {least}, `{machine}`."


def again(study: Study) -> Section:
    words = (
        f"`{report_command(study)}` makes this page and all that it needs, and trains only what has no record. One "
        "experiment alone is trained by its command below. Every folder in `runs/` holds a run's errors, its curve, "
        "the class it predicted for each test image, and the machine, versions and commit it was made with. Times are "
        "of one run."
        f"{estimated(study)}",
    )
    shown = reproduce_table(study).drop(columns=["Experiment", "Runs"])  # which the command names
    runs = table(study, "Runs and commands", shown, "reproduce")
    return Section("again", "How to make it again", words, (runs,))
