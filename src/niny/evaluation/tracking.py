"""A scale's errors and curves for `dvc metrics`, `dvc plots` and `dvc exp`: the same records, in the form DVC reads.

results/<scale>/dvc/metrics/<experiment>.json   mean errors in per cent over the finished runs, and their number
results/<scale>/dvc/curves.csv                  test and training error (masks off) of every run, by epoch
results/<scale>/dvc/errors.csv                  test errors, ours and the paper's
"""

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from niny.config import Params
from niny.errors import NinyError
from niny.evaluation.results import load_results
from niny.evaluation.rules import ExperimentResult
from niny.files import write_json, write_text
from niny.paper import reported

CURVES = {"test_error": "test", "train_error": "train"}  # columns of history.csv


def write_tracked(params: Params, scale: str, root: Path) -> Path:
    """Write the three for one scale; the folder they are in. Raises NinyError where no run has finished or a record
    is damaged.
    """
    results = {name: result for name, result in load_results(params, scale, root).items() if result.test_errors}
    if not results:
        raise NinyError(f"no finished run is recorded at scale {scale}: niny train NAME --scale {scale} makes one")
    folder = root / "results" / scale / "dvc"
    for old in set((folder / "metrics").glob("*.json")) - {metrics_path(folder, name) for name in results}:
        old.unlink()  # of an experiment that has no record any more
    (folder / "metrics").mkdir(parents=True, exist_ok=True)
    for name, result in results.items():
        write_json(metrics_path(folder, name), metrics(result))
    write_table(folder / "curves.csv", ("experiment", "run", "epoch", "images", "error"), curves(results))
    write_table(folder / "errors.csv", ("experiment", "source", "error"), errors(results))
    return folder


def metrics_path(folder: Path, experiment: str) -> Path:
    return folder / "metrics" / f"{experiment}.json"


def metrics(result: ExperimentResult) -> dict[str, float]:
    means = {"test_error": fmean(result.test_errors.values()), "train_error": fmean(result.train_errors.values())}
    return {**{name: round(value, 4) for name, value in means.items()}, "runs": len(result.test_errors)}


def curves(results: Mapping[str, ExperimentResult]) -> Iterator[Sequence[Any]]:
    for name, result in results.items():
        for seed, rows in result.history.items():
            for row in rows:
                yield from ((name, seed, int(row["epoch"]), CURVES[c], row[c]) for c in CURVES if c in row)


def errors(results: Mapping[str, ExperimentResult]) -> Iterator[Sequence[Any]]:
    for name, result in results.items():
        yield from ((name, "this study", error) for error in result.test_errors.values())
        if name in reported():
            yield name, "paper", reported()[name]


def write_table(path: Path, header: Sequence[str], rows: Iterator[Sequence[Any]]) -> None:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerows([header, *rows])
    write_text(path, text.getvalue())
