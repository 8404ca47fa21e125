"""The paper's tables 1 to 5 and the errors in its text, beside ours; claims, costs, open choices, and what is missing.

Cells are text, ready for a page: "one run" and "not run" are words, and no cell is empty. The interval of one more run
is that by which the verdict on a single number of the paper is reached. `errors.csv`, `runs.csv` (with the sampling
error of the test set) and `map-scores.csv` hold numbers.
"""

import os
from pathlib import Path, PurePosixPath
from typing import Any, Literal

import pandas as pd

from niny.benchmark.operations import image_flops, run_flops
from niny.benchmark.results import kept
from niny.config import STANDARD, Params
from niny.evaluation.rules import PredictionInterval
from niny.evaluation.statistics import sampling_error
from niny.files import write_json, write_text
from niny.maps.boxes import SHARED
from niny.maps.records import is_null
from niny.paper import TABLES, TEXT, Results, Row, reported
from niny.report.choices import another_choice, choices_table
from niny.report.elsewhere import elsewhere, elsewhere_table
from niny.report.foreign import AUTHORS, authors_study, foreign_record, foreign_table
from niny.report.heads import head_nulls_table, heads_table
from niny.report.pairs import pairs_table
from niny.report.published import published_table
from niny.report.questions import NULLS, nulls_at, questions_table
from niny.report.readings import agreement_table, cascade_table, reading_nulls_table, readings_table
from niny.report.settings import data_table, recipes_table
from niny.report.speed import speed_table
from niny.report.spread import families, spread_table
from niny.report.study import REFERENCE, Study, count, load_study, ours
from niny.report.trials import after, ended, lost, trial_scale, trials_table
from niny.report.words import NONE, between, distinct, duration, listed, number, plural, printed, through

PREFIXES = {15: "P", 12: "T", 9: "G", 0: ""}
NOT_TESTED = "not tested at this scale"
SCORED = ("experiment", "score", "value", "low", "high", "n", "runs")
NO_NUMBER = NOT_RUN, NO_RECORD = "not run", "no number yet"


def write_tables(params: Params, scale: str, root: Path) -> list[Path]:
    """Write results/<scale>/tables/*.csv and claims.json from the records; the paths written."""
    study = load_study(params, scale, root)
    folder = study.folder / "tables"
    paths = []
    for name, frame in all_tables(study).items():
        write_text(folder / f"{name}.csv", frame.to_csv(index=False, lineterminator="\n", float_format="%.6g"))
        paths.append(folder / f"{name}.csv")
    write_json(folder / "claims.json", study.verdicts)
    return [*paths, folder / "claims.json"]


def all_tables(study: Study) -> dict[str, pd.DataFrame]:
    """Every table by the name of its file."""
    return {table_name(part): paper_table(study, part) for part in TABLES + TEXT} | {
        "claims": claims_table(study),
        "errors": errors_table(study),
        "runs": with_wilson(study.runs),
        "map-questions": questions_table(study),
        "map-scores": scores_table(study),
        "map-readings": readings_table(study),
        "map-published": published_table(study),
        "map-nulls": reading_nulls_table(study),
        "map-agreement": agreement_table(study, "agreement_rank"),
        "map-agreement-top": agreement_table(study, "agreement_top"),
        "map-cascade": cascade_table(study),
        "map-cascade-absolute": cascade_table(study, ".absolute"),
        "map-heads": heads_table(study),
        "map-heads-nulls": head_nulls_table(study),
        "pairs": pairs_table(study),
        "box-classes": boxes_table(),
        "open-choices": choices_table(study),
        "cost": cost_table(study),
        **({"speed": speed_table(study)} if kept(study.root) else {}),
        "data": data_table(study),
        "recipes": recipes_table(study),
        "missing": missing_table(study),
        "reproduce": reproduce_table(study),
        **({"trials": trials_table(study, scale)} if (scale := trial_scale(study.params)) else {}),
        **(authors_tables(study) if foreign_record(study) else {}),
        **({"spread": spread_table(study)} if families(study) else {}),
        **{f"questions-{name}": elsewhere_table(study, name) for name in elsewhere(study)},
    }


def authors_tables(study: Study) -> dict[str, pd.DataFrame]:
    """Those of the network that the authors published."""
    theirs = authors_study(study)
    return {
        "authors": foreign_table(study),
        "authors-readings": readings_table(theirs),
        "authors-nulls": reading_nulls_table(theirs),
    }


def table_name(part: Results) -> str:
    return part.place.lower().replace(" ", "-").replace(".", "-")


def paper_table(study: Study, part: Results) -> pd.DataFrame:
    """One table of the paper, every row of it, with our columns beside."""
    return pd.DataFrame([_paper_row(study, row) for row in part.rows])


def _paper_row(study: Study, row: Row) -> dict[str, str]:
    return {
        "Method": f"{row.method} {row.source}".strip(),
        "Paper %": f"{row.error:.2f}",
        "Ours %": ours(study, row.experiment),
        "n": count(study, row.experiment) if row.experiment else NONE,
        "Mean, 95 %": interval(study, row.experiment, "interval") if row.experiment else NONE,
        "One more run, 95 %": interval(study, row.experiment, "prediction") if row.experiment else NONE,
        "Verdict": verdict(study, row.experiment),
        "Runs": folder_of(study, row.experiment),
    }


def interval(study: Study, experiment: str, of: Literal["interval", "prediction"]) -> str:
    """The interval of the mean or that of one more run, or the words for one run and for none."""
    summary = study.errors(experiment)
    found = summary.interval if of == "interval" else summary.prediction
    if found is not None:
        return between(found)
    return "one run" if summary.n == 1 else ours(study, experiment)


def verdict(study: Study, experiment: str | None) -> str:
    """The status of the claim that the paper's number for this experiment is at home among our runs, or why none is."""
    if experiment is None:
        return NONE
    if not study.scale.evidence:
        return NOT_TESTED
    for claim, record in zip(study.claims, study.current, strict=True):
        if isinstance(claim.rule, PredictionInterval) and claim.rule.experiment == experiment:
            return str(record["status"])
    return another_choice(experiment) or "no number in the paper"


def folder_of(study: Study, experiment: str | None) -> str:
    """The run folder, relative to the report's, where there is one."""
    return f"runs/{experiment}" if len(study.of(experiment)) else NONE


def claims_table(study: Study) -> pd.DataFrame:
    """Every claim with its verdict, those under earlier versions of a rule after the present one."""
    claims = {claim.id: claim for claim in study.claims}
    rows = []
    for record in study.verdicts:
        claim = claims[record["id"]]
        old = record["version"] < claim.version
        # runs may be there and yet not hold what the rule looks at, as the late epochs of figure 3
        none = NO_RECORD if any(len(study.of(name)) for name in claim.rule.experiments) else NOT_RUN
        version = f" (version {record['version']}, as judged on the runs of then)" if old else ""
        rows.append(
            {
                "Claim": claim.id + version,
                "Place": claim.place,
                "What it says": claim.said(record["version"]),
                "Paper": printed(record["paper"]),
                "Ours": number(record["ours"]) if record["ours"] is not None else _interval(record, none),
                "n": str(record["n"]),
                "95 % interval": _interval(record, none),
                "Verdict": record["status"],
                "Why": record["because"],
            }
        )
    return pd.DataFrame(rows)


def _interval(record: dict[str, Any], none: str) -> str:
    if record["interval"] is not None:
        return through(record["interval"])
    return {0: none, 1: "one run"}.get(record["n"], NONE)


def errors_table(study: Study) -> pd.DataFrame:
    """Numbers of every experiment of the scale: means, spreads and both intervals, in per cent."""
    return pd.DataFrame([_error_row(study, experiment.name) for experiment in study.experiments])


def _error_row(study: Study, experiment: str) -> dict[str, Any]:
    summary, train = study.errors(experiment), [*study.result(experiment).train_errors.values()]
    low, high = summary.interval or (None, None)
    next_low, next_high = summary.prediction or (None, None)
    return {
        "experiment": experiment,
        "n": summary.n,
        "collapsed": study.collapsed(experiment),
        "test_error": summary.mean,
        "sd": summary.sd,
        "mean_low": low,
        "mean_high": high,
        "next_run_low": next_low,
        "next_run_high": next_high,
        "train_error": sum(train) / len(train) if train else None,
        "paper": reported().get(experiment),
    }


def with_wilson(runs: pd.DataFrame) -> pd.DataFrame:
    """The run table with the sampling error of the test set for each run: Wilson's 95 % interval, in per cent."""
    bounds = [
        sampling_error(error, int(images))
        for error, images in zip(runs["test_error"], runs["test_images"], strict=True)
    ]
    return runs.assign(wilson_low=[low for low, _ in bounds], wilson_high=[high for _, high in bounds])


def scores_table(study: Study) -> pd.DataFrame:
    """All scores of class maps, a line for each of each experiment and of the authors' own network.

    A null that a score does not have is left empty; nulls are values of the same score. `low` and `high` are the 95 %
    interval, over the images of `runs` networks.
    """
    rows = [
        _scored(study, experiment.name, name)
        for experiment in study.experiments
        for name in sorted(study.result(experiment.name).maps)
        if not is_null(name)
    ]
    rows += _authors_scores(study) if foreign_record(study) else []
    return pd.DataFrame(rows, columns=[*SCORED, *NULLS])


def _scored(study: Study, experiment: str, name: str) -> dict[str, Any]:
    score = study.result(experiment).maps[name]
    low, high = score.interval or (None, None)
    cells = (experiment, name, score.value, low, high, score.n, len(score.seeds))
    nulls = {null: of.value for null, of in nulls_at(study, experiment, name).items()}
    return dict(zip(SCORED, cells, strict=True)) | nulls


def _authors_scores(study: Study) -> list[dict[str, Any]]:
    theirs = authors_study(study)
    names = sorted(name for name in theirs.result(REFERENCE).maps if not is_null(name))
    return [_scored(theirs, REFERENCE, name) | {"experiment": AUTHORS} for name in names]


WHY_SHARED = {
    "automobile": "cars; pickups and trucks are none of CIFAR-10's automobiles",
    "bird": "kinds of birds",
    "cat": "house cats, as CIFAR-10's are",
    "dog": "breeds of dogs",
    "frog": "kinds of frogs",
    "ship": "a boat at sea; CIFAR-10's ships are boats too",
    "truck": "a large vehicle for goods; CIFAR-10's trucks are large ones",
}


def boxes_table() -> pd.DataFrame:
    """The classes of CIFAR-10 among those of Tiny-ImageNet, whose photographs have boxes."""
    named = [(name, ", ".join(f"{what} ({wnid})" for wnid, what in wnids.items())) for name, wnids in SHARED.items()]
    rows = [(name, told, WHY_SHARED[name]) for name, told in named]
    return pd.DataFrame(rows, columns=["CIFAR-10", "Tiny-ImageNet", "Why"])


def cost_table(study: Study) -> pd.DataFrame:
    """What each experiment took. A training step is counted as three forward passes, the usual estimate."""
    return pd.DataFrame([_cost_row(study, experiment.name) for experiment in study.experiments])


def _cost_row(study: Study, experiment: str) -> dict[str, str]:
    runs = study.of(experiment)
    known = len(runs) > 0
    return {
        "Experiment": experiment,
        "n": str(len(runs)),
        "Epochs": distinct(runs["epochs"]),
        "Parameters": distinct(f"{n:,}" for n in runs["parameters"]),
        "MFLOP/image": distinct(f"{n / 1e6:,.1f}" for n in runs["forward_flops_per_image"]),
        "Operations": operations(training_flops(runs)) if known else "not run",
        "Training time": duration(float(spent(runs).sum())) if known else "not run",
        "Images/s": f"{runs['images_per_second'].median():,.0f}" if known else "not run",
        "Energy": energy(runs),
        "Precision": distinct(runs["precision"]),
        "Hardware": distinct(hardware(runs)),
    }


def spent(runs: pd.DataFrame) -> "pd.Series[float]":
    """Seconds of training of each run, with attempts that collapsed: their epochs as long as those of the last one."""
    return runs["training_seconds"] * (1 + runs["lost_epochs"] / runs["epochs"])


def training_flops(runs: pd.DataFrame) -> float:
    """Operations of all epochs, those of attempts that collapsed too."""
    epochs = runs["epochs"] + runs["lost_epochs"]
    return float((3 * runs["forward_flops_per_image"] * runs["train_images"] * epochs).sum())


def time_by_hardware(runs: pd.DataFrame) -> str:
    """Training time on each kind of machine, in order of appearance."""
    took = spent(runs).groupby(hardware(runs), sort=False).sum()
    return listed([f"{duration(float(seconds))} on {machine}" for machine, seconds in took.items()])


def operations(flops: float) -> str:
    """Floating-point operations with the prefix that leaves one to three digits before the point."""
    power = next(p for p in PREFIXES if flops >= 10**p or p == 0)
    return f"{flops / 10**power:,.4g} {PREFIXES[power]}FLOP"


def energy(runs: pd.DataFrame) -> str:
    """The sum and what was counted, where every run was measured."""
    if not len(runs):
        return "not run"
    if runs["energy_joules"].isna().any():
        return "not measured"
    joules = runs["energy_joules"].sum()
    amount = f"{joules / 1e3:,.0f} kJ" if joules >= 1e4 else f"{joules:,.0f} J"
    return f"{amount} ({distinct(runs['energy_counted'])})"


def hardware(runs: pd.DataFrame) -> list[str]:
    return [
        f"{processor}, {plural(int(threads), 'thread')}" if pd.isna(gpu) else str(gpu)
        for processor, threads, gpu in zip(runs["processor"], runs["threads"], runs["gpu"], strict=True)
    ]


HARD_TO_GET = {
    "svhn": "; its 604,388 training images lie at one place, which could not be reached: a folder with the official "
    "train, extra and test .mat files (NINY_DATA) is all that is missing, and a GPU, as a run is 157 million images"
}


def missing_table(study: Study) -> pd.DataFrame:
    """What the paper measured, or this study set out to, and is not recorded at this scale, with the reason."""
    held = trial_scale(study.params)
    own = [e.name for e in study.params.experiments.values() if e.scales != (held,)]  # trials have a table of their own
    wanted = dict.fromkeys([*reported(), *own])
    rows = [{"Not run": name, "Why": why} for name in wanted if (why := _missing(study, name))]
    literature = [part.place for part in TABLES for row in part.rows if row.experiment is None]
    where = listed(list(dict.fromkeys(literature)))
    rows.append({"Not run": f"{len(literature)} rows of {where}", "Why": "results of others, which the paper quotes"})
    return pd.DataFrame(rows)


def _missing(study: Study, experiment: str) -> str:
    if experiment not in study.params.experiments:
        return "params.yaml has no such experiment yet"
    if experiment not in study.results:
        return f"not part of scale {study.scale.name}"
    recorded, wanted = study.recorded_of(experiment), len(study.run(experiment).seeds)
    stale = len(study.of(experiment, "other settings"))
    if stale:
        return f"{stale} of {len(study.of(experiment))} records were made with other settings: train again"
    if recorded >= wanted:
        return ""
    hard = HARD_TO_GET.get(study.run(experiment).data.name, "") if not recorded else ""
    return f"{recorded} of {wanted} seeds recorded{hard}"


def reproduce_table(study: Study) -> pd.DataFrame:
    """For each experiment the command that makes its runs, where they lie, and the commit they were made at."""
    expected = expected_times(study)
    return pd.DataFrame(
        [
            {
                "Experiment": experiment.name,
                "Command": f"niny train {experiment.name} --scale {study.scale.name}",
                "Recorded": f"{study.recorded_of(experiment.name)} of {len(study.run(experiment.name).seeds)} seeds",
                "Test error, %": ours(study, experiment.name),
                "A run takes": took(study.of(experiment.name)) or expected.get(experiment.name, NONE),
                "Runs": folder_of(study, experiment.name),
                "Commit": distinct(commits(study.of(experiment.name))),
            }
            for experiment in study.experiments
        ]
    )


def took(runs: pd.DataFrame) -> str:
    """The median time of training on each kind of machine."""
    took = runs["training_seconds"].groupby(hardware(runs), sort=False).median()
    return "; ".join(f"{duration(float(seconds))} on {machine}" for machine, seconds in took.items())


def quickest(study: Study) -> dict[str, Any] | None:
    """What `niny bench` found on the machine that trains the most images a second, of those that it has measured."""
    return max(kept(study.root), key=lambda result: float(result["images_per_s"]), default=None)


def expected_times(study: Study) -> dict[str, str]:
    """Of the experiments without a run, by operations: what they take on the quickest machine, at its rate for NIN."""
    if (found := quickest(study)) is None:
        return {}
    rate = found["images_per_s"] * image_flops(study.params.run(*STANDARD))
    missing = [e.name for e in study.experiments if not len(study.of(e.name))]
    return {name: f"computed: at least {duration(run_flops(study.run(name)) / rate)}" for name in missing}


def each_run_table(study: Study) -> pd.DataFrame:
    """A line for each recorded run, collapsed ones too, with the sampling error of its test set."""
    return pd.DataFrame([_run_row(run) for run in with_wilson(study.runs).to_dict("records")])


def _run_row(run: dict[Any, Any]) -> dict[str, str]:
    state = f"collapsed: {ended(run)}" if run["state"] == "collapsed" else run["state"] + lost(run) + after(run)
    return {
        "Runs": "/".join(PurePosixPath(run["folder"]).parts[-3:]),
        "State": state,
        "Test %": f"{run['test_error']:.2f}",
        "Sampling, 95 %": between((run["wilson_low"], run["wilson_high"])),
        "Train %": f"{run['train_error']:.2f}",
        "Epochs": str(run["epochs"]),
        "Time": duration(run["training_seconds"]),
        "Images/s": f"{run['images_per_second']:,.0f}",
    }


def commits(runs: pd.DataFrame) -> list[str]:
    """Short names of the commits, and whether the code differed from them when the run was made."""
    return [
        "no commit" if pd.isna(commit) else f"{commit[:10]}{' with changes' if changed else ''}"
        for commit, changed in zip(runs["commit"], runs["changed"], strict=True)
    ]


def summary(params: Params, scale: str, root: Path) -> str:
    """The short table for a terminal: errors in per cent beside the paper's, speed, and where the report lies."""
    study = load_study(params, scale, root)
    header = ("experiment", "error %", "paper %", "train %", "images/s")
    rows = [header, *(_summary_row(study, experiment.name) for experiment in study.experiments)]
    widths = [max(len(row[i]) for row in rows) for i in range(len(header))]
    lines = ["  ".join(_padded(row, widths)) for row in rows]
    lines.insert(1, "  ".join("-" * width for width in widths))
    if not study.scale.evidence:
        lines.append(f"\nScale {scale} is too small to test the paper: its numbers are shown beside, not judged.")
    page = study.folder / "report.html"
    where = os.path.relpath(page, Path.cwd()) if page.is_file() else f"none yet: dvc repro report@{scale}"
    return "\n".join([*lines, f"Report: {where}"])


def _summary_row(study: Study, experiment: str) -> tuple[str, ...]:
    paper, row = reported().get(experiment), _error_row(study, experiment)
    runs = study.of(experiment)
    return (
        experiment,
        ours(study, experiment),
        f"{paper:.2f}" if paper is not None else "not in it",
        f"{row['train_error']:.2f}" if row["train_error"] is not None else NONE,
        f"{runs['images_per_second'].median():,.0f}" if len(runs) else NONE,
    )


def _padded(row: tuple[str, ...], widths: list[int]) -> list[str]:
    return [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]
