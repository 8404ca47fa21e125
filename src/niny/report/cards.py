"""Model cards and the index of kept weights, from the records: results/<scale>/weights/.

`index.json` is what names of weights are looked up in (niny.models.registry); `<experiment>.md` says of each what it
was trained on and how, how much it errs, what its class maps are worth, and what it is not for. No number is typed.
"""

import math
from pathlib import Path
from typing import Any

from niny.config import DataSpec, Params, Run
from niny.data.sets import LABELS, ORIGINS
from niny.errors import NinyError
from niny.evaluation.results import RunRecord, read_runs, read_scores
from niny.evaluation.rules import Score
from niny.evaluation.statistics import sampling_error
from niny.files import write_json, write_text
from niny.maps.meaning import MEANINGS
from niny.models.registry import INDEX, LICENCE, goes_by_name, sha256
from niny.models.weights import WEIGHTS, load_weights
from niny.report.markdown import plain
from niny.report.study import DATA_NAMES

PREPROCESSING = {
    "gcn_zca": "global contrast normalisation (norm {spec.gcn_scale:g}), then ZCA whitening (bias {spec.zca_bias:g})",
    "gcn_lcn": "global contrast normalisation (norm {spec.gcn_scale:g}), then local contrast normalisation",
    "mean": "values in 0..1 less the mean training image",
    "mean_255": "values in 0..255 less the mean training image",
    "unit": "values in 0..1",
}


def write_weights(params: Params, scale: str, root: Path) -> list[str]:
    """Write index and cards of every finished first seed at a scale; the experiments' names.

    Raises NinyError for an unknown scale, a damaged record, and where there is no run with weights; then nothing is
    written. Cards of runs that are no more are removed.
    """
    kept = [r for r in read_runs(params, scale, root) if r.seed == 0 and r.state == "finished"]
    kept = [record for record in kept if (root / record.folder / WEIGHTS).is_file()]
    # what was trained on permuted labels is a null for maps: it knows nothing of images
    kept = [record for record in kept if params.experiments[record.experiment].labels == "true"]
    if not kept:
        raise NinyError(f"no finished run of scale {scale} has weights: niny train EXPERIMENT --scale {scale}")
    entries = {record.experiment: entry(params.run(scale, record.experiment), record, root) for record in kept}
    folder = (root / "results" / scale / INDEX).parent
    for name, facts in entries.items():
        scores = read_scores(root / "results" / scale / "maps" / f"{name}.json")
        write_text(folder / f"{name}.md", card(params.run(scale, name), facts, scores))
    for old in folder.glob("*.md"):
        if old.stem not in entries:
            old.unlink()
    write_json(root / "results" / scale / INDEX, entries)
    return list(entries)


def entry(run: Run, record: RunRecord, root: Path) -> dict[str, Any]:
    """What the index has of one weights file. `test_error` is that of the file, whose weights are float16."""
    file = record.folder / WEIGHTS
    load_weights(root / file)  # what is damaged gets no digest
    error, images = float(record.metrics["weights_test_error"]), int(record.metrics["test_images"])
    names = ("commit", "changed", "processor", "gpu", "precision", "torch")
    return {
        "experiment": run.experiment.name,
        "scale": run.scale.name,
        "evidence": run.scale.evidence,
        "seed": record.seed,
        "dataset": run.data.name,
        "net": run.experiment.net,
        "categories": list(LABELS[run.data.name]),
        "num_params": record.metrics["parameters"],
        "epochs": record.metrics["epochs"],
        "test_error": error,
        "test_error_interval": list(sampling_error(error, images)),
        "test_images": images,
        "training_seconds": record.metrics["training_seconds"],
        "file": file.as_posix(),
        "sha256": sha256(root / file),
        "licence": LICENCE,
        **{name: record.environment.get(name) for name in names},
    }


def card(run: Run, facts: dict[str, Any], scores: dict[str, Score]) -> str:
    """One model card as Markdown."""
    parts = [
        f"# {plain(facts['experiment'])}: {plain(run.experiment.title)}",
        _status(run),
        _use(run, facts),
        _data(run.data),
        _recipe(run, facts),
        _error(facts),
        _maps(scores, facts["seed"]),
        _limits(run),
        _origin(facts),
    ]
    return "\n\n".join(parts) + "\n"


def _status(run: Run) -> str:
    if run.scale.evidence:
        return "Weights of the first run at the paper's scale; all runs are in the report of this scale."
    return f"**No reproduction of the paper:** scale {plain(run.scale.title)}."


def _use(run: Run, facts: dict[str, Any]) -> str:
    named = "" if goes_by_name(run.scale) else f', weights="{facts["file"]}"'
    return f"""## Use

    model = niny.load("{facts["experiment"]}"{named})
    model.predict("image.jpg")

Meant for studying the network and its class maps, and for teaching. It tells {len(facts["categories"])} classes apart:
{plain(", ".join(facts["categories"]))}; whatever it is shown, it names one of these."""


def _data(spec: DataSpec) -> str:
    source, licence = ORIGINS[spec.name]
    colour = "in colour" if spec.channels == 3 else "grey"
    return f"""## Data

{DATA_NAMES[spec.name]} ({source}; licence: {licence}), images of {spec.size} x {spec.size} pixels, {colour}.
Preprocessing: {PREPROCESSING[spec.preprocessing].format(spec=spec)}."""


def _recipe(run: Run, facts: dict[str, Any]) -> str:
    recipe = run.recipe
    dropout = run.experiment.dropout
    phases = ", ".join(f"{epochs} epochs at {factor * recipe.lr:g}" for epochs, factor in recipe.phases)
    return f"""## Training

{facts["net"]}, {facts["num_params"]:,} parameters, head {run.experiment.head}, dropout between layers {dropout:g}. SGD
with momentum {recipe.momentum:g}, batches of {recipe.batch}, weight decay {recipe.weight_decay:g}, initial
weights "{recipe.init}"; {phases} ({recipe.schedule}); augmentation: {"yes" if run.experiment.augment else "none"}.
{facts["training_seconds"] / 60:,.0f} minutes on {facts["gpu"] or facts["processor"]} in {facts["precision"]}."""


def _error(facts: dict[str, Any]) -> str:
    low, high = facts["test_error_interval"]
    return f"""## Error

{facts["test_error"]:.2f} % of {facts["test_images"]:,} test images; 95 % interval (Wilson) {low:.2f} to {high:.2f} %.
That interval is for the sampling of test images and does not speak of other seeds. The error is that of this file,
whose weights are float16; the run's own, of float32 weights, is in the report and may differ by a few images."""


def _maps(scores: dict[str, Score], seed: int) -> str:
    raw = {name: s for name, s in scores.items() if name.endswith(".raw") or "." not in name}
    if not raw:
        return "## Class maps\n\nNot scored."
    rows = [
        f"| {MEANINGS.get(name.partition('.')[0], name)} | {name} | {_number(s.seeds.get(seed, s.value))} "
        f"| {len(s.seeds)} | {_number(s.value)} | {_interval(s)} |"
        for name, s in sorted(raw.items())
    ]
    head = "| what | score | these weights | networks | their mean | 95 % interval |\n|---|---|---|---|---|---|"
    words = "Of maps as they are; means are over all networks of the experiment that were scored."
    return "\n".join(["## Class maps", "", words, "", head, *rows])


def _number(value: float) -> str:
    return f"{value:.3f}" if math.isfinite(value) else "–"


def _interval(score: Score) -> str:
    return "–" if score.interval is None else f"{_number(score.interval[0])} to {_number(score.interval[1])}"


def _limits(run: Run) -> str:
    size = run.data.size
    kind = "softmax" if run.experiment.loss == "cross_entropy" else "sigmoid for each class by itself"
    return f"""## Limits

- Trained on images of {size} x {size} pixels: photographs are averaged down to that, and what is small in them is lost.
- Probabilities are those of a {kind} that nobody calibrated; an image of no class may get a confident answer.
- A class map shows where the network finds evidence, which need not be the object: see the scores above, if any.
- Not for decisions about people or safety."""


def _origin(facts: dict[str, Any]) -> str:
    commit = facts["commit"] or "unknown"
    changed = " (with changes that were not committed)" if facts["changed"] else ""
    return f"""## Origin

Seed {facts["seed"]} of scale {facts["scale"]}, code at commit {commit}{changed}, torch {facts["torch"]}.
File `{facts["file"]}`, SHA-256 `{facts["sha256"]}`; licence of the weights: {facts["licence"]}."""
