"""All that a report speaks of, read once: the parameters, the runs of one scale, their results and the verdicts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd

from niny.config import Experiment, Params, Run, Scale
from niny.errors import NinyError
from niny.evaluation.claims import Claim, judge, load_claims, read_records, to_records
from niny.evaluation.results import load_results, run_table
from niny.evaluation.rules import NOTHING, ExperimentResult, Verdict
from niny.evaluation.statistics import Summary, summarise
from niny.report.words import listed

REFERENCE = "cifar10-nin"  # the paper's own network; what it leaves open is varied one by one from here

DATA_NAMES = {
    "cifar10": "CIFAR-10",
    "cifar100": "CIFAR-100",
    "svhn": "SVHN",
    "mnist": "MNIST",
    "digits": "scikit-learn's digits",
}
MADE = {  # what decides how a training rounds, in words
    "processor": "processor",
    "gpu": "GPU",
    "threads": "threads",
    "precision": "precision",
    "torch": "version of torch",
    "network": "form of the network",
}


@dataclass(frozen=True)
class Study:
    """One scale of the study. `runs` is the run table; `verdicts` are the records of tables/claims.json."""

    params: Params
    scale: Scale
    root: Path
    runs: pd.DataFrame
    results: Mapping[str, ExperimentResult]
    claims: tuple[Claim, ...]
    verdicts: list[dict[str, Any]]

    @property
    def folder(self) -> Path:
        return self.root / "results" / self.scale.name

    @property
    def experiments(self) -> list[Experiment]:
        return self.params.experiments_at(self.scale.name)

    @property
    def current(self) -> list[dict[str, Any]]:
        """The verdicts under the present rules, one a claim and in order, without those of earlier versions."""
        versions = {claim.id: claim.version for claim in self.claims}
        return [record for record in self.verdicts if record["version"] == versions[record["id"]]]

    @property
    def wanted(self) -> int:
        """How many runs the scale has in all."""
        return sum(len(self.run(experiment.name).seeds) for experiment in self.experiments)

    @property
    def recorded(self) -> int:
        """How many of those are there. Records of other settings, and of seeds beyond the scale's, are none of them."""
        return sum(self.recorded_of(experiment.name) for experiment in self.experiments)

    def recorded_of(self, experiment: str) -> int:
        """Likewise, of one experiment."""
        runs = self.of(experiment)
        return int(runs[runs["state"] != "other settings"]["seed"].isin(self.run(experiment).seeds).sum())

    def run(self, experiment: str) -> Run:
        return self.params.run(self.scale.name, experiment)

    def result(self, experiment: str | None) -> ExperimentResult:
        """Empty where the experiment is none of this scale's."""
        return self.results.get(experiment or "", NOTHING)

    def errors(self, experiment: str | None) -> Summary:
        """Test errors in per cent over the finished runs, collapsed ones left out."""
        return summarise([*self.result(experiment).test_errors.values()])

    def of(self, experiment: str | None, state: str | None = None) -> pd.DataFrame:
        """The lines of the run table for one experiment, or those in one state."""
        lines = self.runs[self.runs["experiment"] == experiment]
        return lines if state is None else lines[lines["state"] == state]

    def collapsed(self, experiment: str | None) -> int:
        return len(self.of(experiment, "collapsed"))

    def silence(self, experiment: str | None) -> str:
        """Why there is no error of an experiment that has none."""
        return "collapsed" if self.collapsed(experiment) else "not run"


def load_study(params: Params, scale: str, root: Path) -> Study:
    """Read the records of a scale and judge the claims. Raises NinyError where a record or claims.yaml is damaged."""
    at = params.scale(scale)
    if not params.experiments_at(scale):
        raise NinyError(f"no experiment is run at scale {scale}: add it to the scales of one in params.yaml")
    results = load_results(params, scale, root)
    claims = load_claims(root / "claims.yaml")
    earlier = read_records(root / "results" / scale / "tables" / "claims.json")
    judged = [
        known(params, claim, verdict)
        for claim, verdict in zip(claims, judge(claims, results, at.evidence), strict=True)
    ]
    verdicts = to_records(claims, judged, earlier, experiments_run(params, root))
    return Study(params, at, root, run_table(params, scale, root), results, claims, verdicts)


def experiments_run(params: Params, root: Path) -> set[str]:
    """Names of the experiments of which runs are kept at any scale, finished or not as params.yaml now has them."""
    kept = [root / "results" / scale.name / "runs" for scale in params.scales.values() if scale.keep_records]
    return {path.parent.parent.name for runs in kept for path in runs.glob("*/seed-*/metrics.json")}


def known(params: Params, claim: Claim, verdict: Verdict) -> Verdict:
    """A verdict that says so where its rule asks for an experiment that there is none of, misspelt or taken out."""
    strangers = [name for name in claim.rule.experiments if name not in params.experiments]
    return replace(verdict, because=f"params.yaml has no experiment {listed(strangers)}") if strangers else verdict


def ours(study: Study, experiment: str | None) -> str:
    """Mean ± standard deviation, a single run's error, or why there is none."""
    if experiment is None:
        return "not rerun"
    summary = study.errors(experiment)
    if summary.mean is None:
        return study.silence(experiment)
    return f"{summary.mean:.2f}" if summary.sd is None else f"{summary.mean:.2f} ± {summary.sd:.2f}"


def count(study: Study, experiment: str | None) -> str:
    """How many runs a number is made of, how many collapsed beside them, and after how many attempts that did."""
    n, collapsed = study.errors(experiment).n, study.collapsed(experiment)
    retried = int(study.of(experiment, "finished")["collapsed_attempts"].sum())
    beside = [f"+{collapsed} collapsed"] if collapsed else []
    beside += [f"after {retried} collapsed attempt{'s' * (retried > 1)}"] if retried else []
    return f"{n} ({', '.join(beside)})" if beside else str(n)


def rate_share(study: Study, experiment: str) -> float:
    """The learning rate of an experiment as a share of the reference's."""
    return study.run(experiment).recipe.lr / study.run(REFERENCE).recipe.lr


def other_rates(study: Study, experiments: Sequence[str]) -> str:
    """Which of these variants of the reference learn at another rate than it, as sentences; empty for none."""
    if REFERENCE not in study.results:
        return ""
    reference = study.run(REFERENCE)
    runs = [study.run(name) for name in experiments if name in study.results]
    alike = [r for r in runs if r.experiment.net == reference.experiment.net and r.data == reference.data]
    shares = {r.experiment.name: share for r in alike if (share := rate_share(study, r.experiment.name)) != 1}
    return " ".join(f"`{name}` learns at {share:g} of the rate of `{REFERENCE}`." for name, share in shares.items())


def measured(history: Mapping[int, Sequence[Mapping[str, float]]], column: str) -> dict[int, list[float]]:
    """{epoch: values of all runs} of a column of the history, for the epochs that every run measured."""
    values: dict[int, list[float]] = {}
    for row in (row for rows in history.values() for row in rows if column in row):
        values.setdefault(int(row["epoch"]), []).append(row[column])
    return {epoch: found for epoch, found in values.items() if len(found) == len(history)}


def scale_label(scale: Scale) -> str:
    """What every banner, caption and figure says of the scale."""
    name = f"{scale.name.capitalize()} scale"
    return f"{name}: held against the paper" if scale.evidence else f"{name}: not a reproduction of the paper"


def scale_kind(scale: Scale) -> str:
    """How a page is coloured: numbers that test the paper, records worth keeping, or a demonstration."""
    return "evidence" if scale.evidence else "records" if scale.keep_records else "demonstration"


def data_name(name: str) -> str:
    return DATA_NAMES.get(name, name)
