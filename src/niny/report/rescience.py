"""The study as an article in the sections that the reproducibility community expects, and its metadata for ReScience C.

Sections follow the summaries of the Machine Learning Reproducibility Challenge. Like the report, both files are made
from the records, params.yaml and claims.yaml; authors come from CITATION.cff.
"""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import jinja2

from niny.config import Params
from niny.errors import NinyError
from niny.evaluation.claims import Claim
from niny.files import write_text
from niny.paper import FIGURE_3, OPEN_CHOICES, TABLES, TEXT
from niny.report.article import (
    AFTER,
    JUDGED,
    LATER,
    again,
    asked,
    banner,
    chance,
    cost,
    curves,
    headlines,
    lead,
    left_open,
    not_run,
    one_paper_table,
    pair_by_pair,
    paper_error,
    tally,
    total_cost,
)
from niny.report.class_maps import class_maps
from niny.report.markdown import plain
from niny.report.page import HERE, sections_in_markdown
from niny.report.parts import Article, Part, Section, report_command, table
from niny.report.settings import data_table, recipes_table
from niny.report.study import REFERENCE, Study, load_study, scale_kind, scale_label
from niny.report.tables import claims_table, took
from niny.report.words import distinct, listed, number, plural, printed, through
from niny.strict_yaml import load_yaml

CITATION = "CITATION.cff"
THEIRS = "Numbers in brackets in the paper's tables are those of its own list of references."


def write_rescience(params: Params, scale: str, root: Path) -> Path:
    """Write results/<scale>/article.md and metadata.yaml; the path of the article.

    Raises NinyError, before anything is written, where a record, claims.yaml or CITATION.cff cannot be read.
    """
    study, citation = load_study(params, scale, root), read_citation(root / CITATION)
    article, metadata = article_text(study, citation), metadata_text(study, citation)
    write_text(study.folder / "metadata.yaml", metadata)
    write_text(study.folder / "article.md", article)
    return study.folder / "article.md"


def read_citation(path: Path) -> dict[str, Any]:
    """CITATION.cff, which must have authors and, as its first reference, the paper."""
    citation = load_yaml(path)
    for name in ("authors", "references"):
        entries = citation.get(name) if isinstance(citation, dict) else None
        if not isinstance(entries, list) or not entries or not all(isinstance(entry, dict) for entry in entries):
            raise NinyError(f"{path}: {name} is no list of entries: restore the file from git")
    return dict(citation)


def person(entry: Mapping[str, Any]) -> str:
    """The name of an author in CFF, a person's or a group's."""
    return str(entry.get("name") or f"{entry.get('given-names', '')} {entry.get('family-names', '')}".strip())


def cited(paper: Mapping[str, Any]) -> str:
    names = listed([person(author) for author in paper.get("authors", [])])
    return f"{names} ({paper.get('year')}). {paper.get('title')}. {paper.get('url')}"


def title(study: Study) -> str:
    """[Re] where more of the paper's claims were supported than refuted, [¬Re] where not, neither where none was."""
    counts: dict[str, int] = dict(tally(study))
    supported, refuted = counts.get("supported", 0), counts.get("refuted", 0)
    if not supported + refuted:
        return f"Network In Network, run again at {study.scale.name} scale"
    return f"[{'Re' if supported > refuted else '¬Re'}] Network In Network"


def abstract(study: Study) -> str:
    told = [
        "Lin, Chen and Yan (2013) replace the linear filters of a convolutional network with small perceptrons and its "
        "fully connected layers with the mean of one map a class. We rebuild the network, train it and its ablations "
        "again, and measure what its class maps say.",
        lead(study),
        *headlines(study),
    ]
    return " ".join(told).replace("`", "")


def article_text(study: Study, citation: Mapping[str, Any]) -> str:
    """The article as Markdown, with the tables and figures of the report."""
    sections = (
        scope(study),
        *methodology(study),
        *results(study),
        *beyond(study),
        *discussion(study),
        not_run(study),
        again(study),
        Section("references", "References", (THEIRS, *map(cited, citation["references"]))),
    )
    label = scale_label(study.scale)
    article = Article(title(study), study.scale.name, label, scale_kind(study.scale), banner(study), (), sections)
    head = [
        f"# {article.title}",
        f"> **{label}.** {plain(article.banner)}.",
        listed([person(author) for author in citation["authors"]]),
        f"**Abstract.** {plain(abstract(study))}",
    ]
    return "\n\n".join([*head, *sections_in_markdown(article, study.folder)]) + "\n"


def scope(study: Study) -> Section:
    frame, origins = claims_table(study), {claim.id: claim.origin for claim in study.claims}
    theirs = frame["Claim"].map(lambda name: origins[name.partition(" ")[0]] == "paper").astype(bool)
    claims = table(study, "The paper's claims and their verdicts", frame[theirs].drop(columns="Why"), "claims")
    return Section("scope", "Scope of reproducibility", (*asked(study).words, lead(study)), (claims,))


def methodology(study: Study) -> tuple[Section, ...]:
    data = table(study, "Data sets", data_table(study), "data")
    recipes = table(study, "Recipes", recipes_table(study), "recipes")
    return (
        Section("methodology", "Methodology", ()),
        Section(
            "model",
            "Model",
            (
                "The networks were written anew in PyTorch from the paper's text and, where it is silent, the authors' "
                "published configuration files. What was chosen, and after whom, is in the table of open choices.",
            ),
            asked(study).items,
            level=3,
        ),
        Section(
            "data",
            "Data",
            (
                "Every file is held against the digests of the official release. Preprocessing is fitted on the "
                "training images alone, and no setting was chosen by comparing errors on test images. Variants that "
                "were added once errors had been seen, to ask where they come from, replace nothing.",
            ),
            (data,),
            level=3,
        ),
        Section("hyperparameters", "Hyperparameters", tuple(hyperparameters(study)), (recipes,), level=3),
        Section("setup", "Experimental setup and code", setup(study), level=3),
        Section("computation", "Computational cost", cost(study).words, costs(study), level=3),
    )


def costs(study: Study) -> tuple[Part, ...]:
    """What it cost, without what else takes time on each machine."""
    return tuple(item for item in cost(study).items if item.file != "tables/speed.csv")


def hyperparameters(study: Study) -> list[str]:
    silent = [choice.item for choice in OPEN_CHOICES if "not stated" in choice.paper]
    return [
        f"The paper does not state, or not in full, the values of these: {listed(silent)}. `authors` and "
        "`authors-cifar100` use those of the authors' configuration files; a recipe whose name goes on changes what it "
        "names."
    ]


def setup(study: Study) -> tuple[str, ...]:
    versions = distinct(v for v in study.runs["torch"] if isinstance(v, str))
    return (
        f"{plural(len(study.experiments), 'experiment')}, {plural(study.wanted, 'run')} in all, with seeds derived "
        f"from the root seed {study.params.root_seed}. PyTorch: {versions}. `{report_command(study)}` makes "
        "everything again.",
        "A number of the paper is held against the 95 % prediction interval of one more run; ablations are paired by "
        "seed and by test image, with Holm's correction over the steps of an order. A run whose outputs died, or that "
        "ended at chance, counts as collapsed: it is named beside n and enters no mean.",
    )


def results(study: Study) -> tuple[Section, ...]:
    """A section for each place in the paper that claims something: the claims, then its table or figure."""
    claims = [claim for claim in study.claims if claim.origin == "paper"]
    places = dict.fromkeys(place_of(claim) for claim in claims)
    parts = {part.place: one_paper_table(study, part) for part in TABLES + TEXT}
    drawn: dict[str, tuple[Part, ...]] = {place: (part,) for place, part in parts.items()}
    drawn["Figure 3"] = curves(study).items
    sections = [
        Section(
            place,
            place,
            ("\n".join(claim_line(study, claim) for claim in claims if place_of(claim) == place),),
            drawn.get(place, ()),
            level=3,
        )
        for place in places
    ]
    pairs = pair_by_pair(study)
    if pairs:
        sections.append(Section("pairs", "Pair by pair", (), pairs, level=3))
    words = "Each claim under its place in the paper, with its verdict, the numbers behind it and the reason."
    return (Section("results", "Results", (words, JUDGED)), *sections)


def place_of(claim: Claim) -> str:
    """Where in the paper, without figures that come after a section and without what is said of the rule."""
    return claim.place.partition(",")[0].partition(" (")[0]


def claim_line(study: Study, claim: Claim) -> str:
    """A claim and its verdict as an item of a list."""
    record = next(r for r in study.current if r["id"] == claim.id)
    numbers = [f"paper {printed(record['paper'])}"] if record["paper"] is not None else []
    numbers.append(
        f"ours {number(record['ours'])}, n = {record['n']}" if record["ours"] is not None else "ours none yet"
    )
    if record["interval"] is not None:
        numbers.append(f"95 % interval {through(record['interval'])}")
    why = f". {record['because']}" if study.scale.evidence else ""
    when = "".join(f" ({late})" for late in (AFTER, LATER) if late in claim.place)
    return f"- `{claim.id}`{when}: {claim.says} Verdict: {record['status']}; {'; '.join(numbers)}{why}."


def beyond(study: Study) -> tuple[Section, ...]:
    maps, choices = class_maps(study), left_open(study)
    own = "\n".join(claim_line(study, claim) for claim in study.claims if claim.origin == "niny")
    predictions = ("What this study predicted before its runs at the paper's scale, under rules of the same kind:", own)
    return (
        Section("beyond", "Results beyond the paper", predictions if own else ()),
        Section(maps.id, maps.title, maps.words, maps.items, level=3),
        Section(choices.id, choices.title, choices.words, choices.items, level=3),
        *(replace(section, level=3) for section in chance(study)),
    )


def discussion(study: Study) -> tuple[Section, ...]:
    return (
        Section("discussion", "Discussion", ()),
        Section("easy", "What was easy", ("\n".join(f"- {line}" for line in easy(study)),), level=3),
        Section("difficult", "What was difficult", ("\n".join(f"- {line}" for line in difficult(study)),), level=3),
        Section(
            "communication",
            "Communication with the original authors",
            (
                "None: the authors were not asked. Where their paper is silent their configuration files of 2014 were "
                "read, and where these are silent too the choice is ours and marked so.",
            ),
            level=3,
        ),
    )


def easy(study: Study) -> list[str]:
    """What the code and the records show to have gone by itself."""
    lines = ["The data sets are public and small, and their official digests tell whether a copy is right."]
    runs = study.of(REFERENCE)
    if len(runs):
        lines.append(
            f"The network is small: `{REFERENCE}` has {distinct(f'{n:,}' for n in runs['parameters'])} parameters, and "
            f"to train it took {took(runs)}, beside whatever else the machine ran."
        )
    exact = study.result(REFERENCE).maps.get("completeness_error")
    found = (
        f"the largest difference found is {number(exact.value)}" if exact and exact.value else "no difference was found"
    )
    told = f"; {found}" if exact else ""
    lines.append(
        f"Class maps need no method of explanation: they are the last layer, and their means the logits{told}."
    )
    if len(study.runs) and not collapses(study):
        lines.append(f"No run collapsed ({plural(len(study.runs), 'run')} recorded).")
    return lines


def difficult(study: Study) -> list[str]:
    """What the paper and the records show to have been in the way."""
    tried = [choice for choice in OPEN_CHOICES if choice.experiments]
    known = [choice for choice in tried if all(len(study.of(name)) for name in choice.experiments)]
    drop, plain = FIGURE_3.test_dropout[-1], FIGURE_3.test_no_dropout[-1]
    lines = [
        f"The paper alone does not settle {len(OPEN_CHOICES)} choices, or we depart from it in them. {len(tried)} of "
        "them have an experiment that chooses "
        f"otherwise, of which {len(known)} {'is' if len(known) == 1 else 'are'} recorded at this scale.",
        "It reports one run of each experiment: how far its own numbers vary is not known.",
        f"Its figure 3 ends at {drop:.2f} % with dropout and {plain:.2f} % without, its text has {paper_error()} % for "
        "the former: very likely the figure shows the phase of constant learning rate alone.",
    ]
    if collapses(study):
        lines.append(collapses(study))
    if study.recorded < study.wanted:
        lines.append(
            f"Time: {study.recorded} of {plural(study.wanted, 'run')} of this scale are recorded. {total_cost(study)}"
        )
    return lines


def collapses(study: Study) -> str:
    """How many runs, and attempts at them, died; empty where none did."""
    runs = study.runs
    dead, attempts = int((runs["state"] == "collapsed").sum()), int(runs["collapsed_attempts"].sum())
    if not dead + attempts:
        return ""
    where = distinct(f"`{name}`" for name in runs[runs["collapsed_attempts"] > 0]["experiment"])
    share = f"{100 * dead / len(runs):.0f} %"
    told = f" (attempts that died are recorded for {where})" if attempts else ""
    return (
        f"Training can collapse: {dead} of {plural(len(runs), 'run')} ({share}) collapsed, and "
        f"{plural(attempts, 'attempt')} died on the way{told}."
    )


def metadata_text(study: Study, citation: Mapping[str, Any]) -> str:
    """metadata.yaml for ReScience C: the fields of its template, those that others fill in left empty."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(HERE), trim_blocks=True, undefined=jinja2.StrictUndefined
    )
    environment.filters["quoted"] = lambda value: json.dumps(value, ensure_ascii=False) if value else ""
    authors, paper = citation["authors"], citation["references"][0]
    text = environment.get_template("metadata.yaml").render(
        scale=study.scale.name,
        command=report_command(study),
        title=title(study),
        authors=[{"name": person(a), "orcid": a.get("orcid"), "email": a.get("email")} for a in authors],
        affiliation=next((a["affiliation"] for a in authors if a.get("affiliation")), None),
        keywords="reproducibility, interpretability, convolutional networks, Network In Network, Python, PyTorch",
        code=citation.get("repository-code"),
        cite=cited(paper),
        paper={"url": paper.get("url"), "doi": paper.get("doi")},
        abstract=abstract(study),
    )
    return "\n".join(line.rstrip() for line in text.splitlines()) + "\n"
