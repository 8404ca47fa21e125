"""results/README.md, which tells what report to read, and the part of the project's README that shows the results.

Both speak of the scales that are kept in the repository alone, and are made from their records: no number is typed.
"""

from collections.abc import Sequence
from pathlib import Path

from niny.config import Params, Scale
from niny.errors import NinyError
from niny.files import between, write_text
from niny.paper import reported
from niny.report.study import Study, load_study, scale_label
from niny.report.tables import NONE, count, ours, spread, verdict

BEGIN, END = "<!-- results: begin (niny readme) -->", "<!-- results: end -->"
HEADER = ("experiment", "paper %", "ours %", "n", "95 % of one more run", "verdict")


def write_readmes(params: Params, root: Path) -> list[Path]:
    """Bring both files up to date. Raises NinyError where README.md has lost its markers."""
    readme, door = root / "README.md", root / "results" / "README.md"
    text = readme_text(params, root, readme.read_text(encoding="utf-8"))
    write_text(door, door_text(params, root))
    write_text(readme, text)
    return [readme, door]


def kept_studies(params: Params, root: Path) -> list[Study]:
    """The studies whose records belong to the repository and that have any, evidence first."""
    scales = [s for s in params.scales.values() if s.keep_records and not s.holdout]
    ordered = sorted(scales, key=lambda scale: not scale.evidence)
    studies = [load_study(params, scale.name, root) for scale in ordered if (root / "results" / scale.name).is_dir()]
    return [study for study in studies if len(study.runs)]


def readme_text(params: Params, root: Path, text: str) -> str:
    """README.md with its part between the markers made anew from the most telling study."""
    studies = kept_studies(params, root)
    shown = study_text(studies[0], "results/") if studies else "No run has been recorded yet."
    made = between(text, BEGIN, END, shown)
    if made is None:
        raise NinyError(f"README.md has no place for results: put the lines {BEGIN} and {END} where they belong")
    return made


def door_text(params: Params, root: Path) -> str:
    parts = ["# Results", "Made by `niny readme` from the records in these folders."]
    for study in kept_studies(params, root):
        parts += [f"## {scale_label(study.scale)}", study_text(study, "")]
    parts.append(
        "`make study` leaves one more report here, [demo/report.html](demo/report.html), on the machine that ran it: a "
        "demonstration, not kept in the repository."
    )
    return "\n\n".join(parts) + "\n"


def study_text(study: Study, prefix: str) -> str:
    """What scale, how many runs, the table, and where the report lies."""
    done = f"{len(study.runs)} of {len(study.experiments) * study.scale.seeds} runs recorded."
    folder = f"{prefix}{study.scale.name}"
    page = f"[{folder}/report.html]({folder}/report.html)"
    report = f"[Tables, figures and how each number was made]({folder}/README.md); the same as one page: {page}."
    return "\n\n".join((f"**{caption(study.scale)}** {done}", "\n".join(lines(study)), report))


def caption(scale: Scale) -> str:
    warning = "" if scale.evidence else " Too short to test the paper: its numbers stand beside ours and judge nothing."
    title = scale.title[0].upper() + scale.title[1:]
    return f"{title}.{warning}"


def lines(study: Study) -> Sequence[str]:
    """A Markdown table of every experiment of the scale."""
    rows = [HEADER, ("---", "--:", "--:", "--:", "--:", "---")]
    rows += [row(study, e.name) for e in study.experiments]
    return [f"| {' | '.join(cells)} |" for cells in rows]


def row(study: Study, experiment: str) -> tuple[str, str, str, str, str, str]:
    paper = reported().get(experiment)
    return (
        f"`{experiment}`",
        NONE if paper is None else f"{paper:.2f}",
        ours(study, experiment),
        count(study, experiment),
        spread(study, experiment),
        verdict(study, experiment),
    )
