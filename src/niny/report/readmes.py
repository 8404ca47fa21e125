"""What stands at the doors: results/README.md, and the generated parts of README.md and of notebooks/README.md.

The results are of the scales that are kept in the repository alone, made from their records: no number is typed. The
tables of notebooks are made from the notebooks' titles and from what `niny notebook time` measured.
"""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from niny.config import SOURCES, Params, Scale
from niny.data.sets import ORIGINS
from niny.errors import NinyError
from niny.files import between, write_text
from niny.paper import reported
from niny.report.markdown import code, plain
from niny.report.pipeline import pipeline_text
from niny.report.spread import spread_findings
from niny.report.study import REFERENCE, Study, count, load_study, ours, scale_label
from niny.report.tables import interval, verdict
from niny.report.trust import read_records
from niny.report.words import NONE, listed

HEADER = ("experiment", "paper %", "ours %", "n", "95 % prediction interval", "verdict")
COMMANDS = {
    "make study": "a third-width study on real CIFAR-10, from nothing to a report",
    "make test": "lint, types, tests, and the whole study at smoke scale",
    "make torture": "tries to break it all; every report shows what came of it",
}
FIGURES = {  # the first of these that a scale has is shown
    f"maps-{REFERENCE}.png": "One test image of each class and its ten class maps, as the last layer makes them: the "
    "largest tenth of each image's map cells.",
    "errors.svg": "Test errors, ours (dots) and the paper's (diamonds).",
}


def write_readmes(params: Params, root: Path) -> list[Path]:
    """Bring all three up to date. Raises NinyError where one of them has lost its markers."""
    readme, start = root / "README.md", root / "notebooks" / "README.md"
    texts = {
        readme: readme_text(params, root, readme.read_text(encoding="utf-8")),
        start: start_text(root, start.read_text(encoding="utf-8")),
        root / "results" / "README.md": door_text(params, root),
    }
    for path, text in texts.items():
        write_text(path, text)
    return list(texts)


def marks(part: str) -> tuple[str, str]:
    """The lines between which a generated part stands."""
    return f"<!-- {part}: begin (niny readme) -->", f"<!-- {part}: end -->"


def filled(text: str, parts: Mapping[str, str], name: str) -> str:
    """`text` with what stands between the marks of each part made anew."""
    for part, content in parts.items():
        begin, end = marks(part)
        made = between(text, begin, end, content)
        if made is None:
            raise NinyError(f"{name} has no place for {part}: put the lines {begin} and {end} where they belong")
        text = made
    return text


def kept_studies(params: Params, root: Path) -> list[Study]:
    """The studies whose records belong to the repository and that have any, evidence first, then the widest."""
    scales = [s for s in params.scales.values() if s.keep_records and not s.holdout]
    ordered = sorted(scales, key=lambda scale: (not scale.evidence, -scale.width))
    studies = [load_study(params, scale.name, root) for scale in ordered if (root / "results" / scale.name).is_dir()]
    return [study for study in studies if len(study.runs)]


def readme_text(params: Params, root: Path, text: str) -> str:
    """README.md with the table of the most telling study, the state of every one, and the notebooks."""
    studies = kept_studies(params, root)
    first = study_text(studies[0], "results/") + figure_text(studies[0]) if studies else "No run has been recorded yet."
    parts = {
        "results": first,
        "details": "\n".join(map(detail, studies)) or "No run has been recorded yet.",
        "commands": commands_text(root),
        "pipeline": pipeline_text(root),
        "notebooks": notebooks_text(root, "notebooks/"),
        "scales": scales_text(params),
        "data": data_text(params),
    }
    return filled(text, parts, "README.md")


def start_text(root: Path, text: str) -> str:
    """notebooks/README.md, on which `make lab` opens."""
    return filled(text, {"notebooks": notebooks_text(root, "")}, "notebooks/README.md")


def door_text(params: Params, root: Path) -> str:
    parts = ["# Results", "Made by `niny readme` from the records in these folders."]
    studies = kept_studies(params, root)
    if studies:
        parts.append(which(studies[0]))
    for study in studies:
        parts += [f"## {scale_label(study.scale)}", study_text(study, "")]
    parts.append(
        "`make study` leaves one more report here, [demo/report.html](demo/report.html), on the machine that ran it: a "
        "demonstration, not kept in the repository."
    )
    return "\n\n".join(parts) + "\n"


def which(study: Study) -> str:
    """Which report to read, and what it can say."""
    page = f"{study.scale.name}/report.html"
    if study.scale.evidence:
        return f"Read [{page}]({page}): it holds the paper's claims against our own runs."
    return (
        f"Read [{page}]({page}). Nothing is recorded yet at a scale that tests the paper: it shows what was learnt in "
        "less time."
    )


def study_text(study: Study, prefix: str) -> str:
    """What scale, how many runs, the table, and where the report lies."""
    folder = f"{prefix}{study.scale.name}"
    page = f"[{folder}/report.html]({folder}/report.html)"
    report = f"[Tables, figures and how each number was made]({folder}/README.md); the same as one page: {page}."
    if (study.folder / "article.md").is_file():
        report += f" As an article in the form of ReScience C: [{folder}/article.md]({folder}/article.md)."
    head = f"**{caption(study.scale)}** {done(study)} {standing(study)}"
    how = f"A row is made by `niny train EXPERIMENT --scale {study.scale.name}`, the table by `niny readme`."
    return "\n\n".join((head, table(lines(study)), " ".join((how, *asides(study), report))))


def asides(study: Study) -> list[str]:
    """What a row of the table does not say of itself."""
    controls = [f"`{e.name}`" for e in study.experiments if e.labels == "permuted"]
    partly = any(e.varies != SOURCES for e in study.experiments)
    told = [f"{listed(controls)} learnt permuted labels: a control that knows nothing."] if controls else []
    shared = "Where one source of chance varies alone, run 0 is in the row of the experiment in which all do."
    return [*told, shared] if partly else told


def done(study: Study) -> str:
    return f"{study.recorded} of {study.wanted} runs recorded."


def figure_text(study: Study) -> str:
    """One figure of the study, where it has any."""
    for name, says in FIGURES.items():
        if (study.folder / "figures" / name).is_file():
            source = f"results/{study.scale.name}/figures/{name}"
            return f'\n\n<img src="{source}" width="760" alt="{says}">\n\n{says} {scale_label(study.scale)}.'
    return ""


def detail(study: Study) -> str:
    """A line on one scale: how the claims stand, and where everything lies."""
    folders = ("tables", "figures", "notebooks", "weights")
    places = {"report": "README.md", "article": "article.md", **dict(zip(folders, folders, strict=True))}
    there = {name: place for name, place in places.items() if (study.folder / place).exists()}
    links = ", ".join(f"[{name}](results/{study.scale.name}/{place})" for name, place in there.items())
    found = " ".join(("", *spread_findings(study)))
    return f"- **{scale_label(study.scale)}.** {done(study)} {standing(study)}{found} {links}."


def standing(study: Study) -> str:
    """How the claims stand."""
    found = Counter(str(verdict["status"]) for verdict in study.current)
    counts = ", ".join(f"{n} {status}" for status, n in found.most_common())
    return f"Of {len(study.current)} claims and predictions: {counts}."


def caption(scale: Scale) -> str:
    warning = "" if scale.evidence else " Too short to test the paper, whose numbers are shown for orientation."
    title = plain(scale.title[:1].upper() + scale.title[1:])
    return f"{title}.{warning}"


def lines(study: Study) -> Sequence[Sequence[str]]:
    """Every experiment of the scale, below what the columns are and how they are set."""
    rows = [HEADER, ("---", "--:", "--:", "--:", "--:", "---")]
    return [*rows, *(row(study, e.name) for e in study.experiments)]


def table(rows: Sequence[Sequence[str]]) -> str:
    return "\n".join(f"| {' | '.join(cells)} |" for cells in rows)


def row(study: Study, experiment: str) -> tuple[str, str, str, str, str, str]:
    paper = reported().get(experiment)
    return (
        code(experiment),
        NONE if paper is None else f"{paper:.2f}",
        ours(study, experiment),
        count(study, experiment),
        interval(study, experiment, "prediction"),
        verdict(study, experiment),
    )


def notebooks_text(root: Path, prefix: str) -> str:
    """A table of the notebooks in reading order, and on what machine the times were taken, if they were."""
    path = root / "notebooks" / "times.json"
    times = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None
    seconds = times["seconds"] if times else {}
    rows = [("notebook", "the question", "what it shows", "time"), ("---", "---", "---", "--:")]
    for source in sorted((root / "notebooks").glob("*.ipynb")):
        link = f"[{source.stem}]({prefix}{source.name})"
        rows.append((link, question(source), picture(source, prefix), duration(seconds.get(source.stem))))
    if not times:
        return table(rows)
    machine = times["machine"]
    on = f"{machine['processor']}, {machine['cores']} cores, {machine['threads']} threads"
    return f"{table(rows)}\n\nTimes at demo scale, from what `make study` left: {on}."


def commands_text(root: Path) -> str:
    """The commands to start with, and how long each took in a clean clone, if that was measured."""
    path = root / "results" / "commands.json"
    found = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {"seconds": {}}
    took = found["seconds"] | torture_seconds(root)
    shown = [f"{name:<14} # {minutes(took, name)}{what}" for name, what in COMMANDS.items()]
    block = "\n".join(["```", *shown, "```"])
    if "make study" not in took:
        return block
    again = took["make study again"]
    return (
        f"{block}\n\nTimes in a clean clone on {found['processor']}, {found['cores']} cores, installation included. A "
        f"second `make study` took {again:.0f} s: what has not changed is not run again."
    )


def torture_seconds(root: Path) -> dict[str, float]:
    """How long all of its tests took when each was last run."""
    kept = read_records(root).values()
    return {"make torture": sum(test["seconds"] for test in kept)} if kept else {}


def minutes(took: Mapping[str, float], command: str) -> str:
    """What a newcomer waits for a command, which installs first."""
    if command not in took:
        return ""
    return f"{(took.get('installation', 0.0) + took[command]) / 60:.0f} minutes: "


def scales_text(params: Params) -> str:
    """A table of the scales: what each is, and what its settings make it good for."""
    rows = [("scale", "what it is", "for"), ("---", "---", "---")]
    return table([*rows, *((code(scale.name), plain(scale.title), purpose(scale)) for scale in params.scales.values())])


def purpose(scale: Scale) -> str:
    if scale.evidence:
        return "evidence; wants a GPU"
    if scale.holdout:
        return "choices: it never meets the test split"
    return "a first look; its records are kept" if scale.keep_records else "trying out; nothing of it is kept"


def data_text(params: Params) -> str:
    """A table of the data sets: whose they are, and under what licence."""
    names = list(params.datasets)
    rows = [("data set", "by", "licence"), ("---", "---", "---")]
    for source, licence in dict.fromkeys(ORIGINS[name] for name in names):
        sets = ", ".join(code(name) for name in names if ORIGINS[name] == (source, licence))
        rows.append((sets, plain(source), plain(licence)))
    return table(rows)


def question(source: Path) -> str:
    """The title of a notebook."""
    first = json.loads(source.read_text(encoding="utf-8"))["cells"][0]["source"]
    return "".join(first).splitlines()[0].removeprefix("# ")


def picture(source: Path, prefix: str) -> str:
    kept = sorted((source.parent / "pictures").glob(f"{source.stem}.*"))
    alt = f"The first picture of {source.stem}"
    return f'<img src="{prefix}pictures/{kept[0].name}" width="160" alt="{alt}">' if kept else NONE


def duration(seconds: float | None) -> str:
    return NONE if seconds is None else f"{seconds:.0f} s"
