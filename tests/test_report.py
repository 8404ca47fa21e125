"""Report: every number comes from records, what is missing looks missing, and the page needs nothing but itself."""

import re
import shutil
import subprocess
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pandas as pd
import pytest
from conftest import ROOT
from PIL import Image
from planted import change, plant, plant_scores, project, study_params

from niny.config import ATTEMPTS, load_params
from niny.evaluation.claims import load_claims
from niny.files import write_json
from niny.maps.intervals import score
from niny.maps.nested import over_seeds
from niny.maps.records import save_scores
from niny.paper import TABLES, TEXT
from niny.report import summary, write_figures, write_report, write_rescience, write_tables
from niny.report.article import facts, lead, one_paper_table, total_cost, write_article
from niny.report.cards import write_weights
from niny.report.choices import choices_table
from niny.report.figures import draw_errors, draw_figure_3, errors_picture, figure_3_picture
from niny.report.parts import Table
from niny.report.readmes import kept_studies
from niny.report.scores import draw_scores
from niny.report.speed import agreements
from niny.report.study import load_study, measured
from niny.report.tables import NOT_TESTED, all_tables, energy, missing_table, paper_table, scores_table
from niny.report.words import duration, listed, plural

PARAMS = study_params()
ERRORS = (10.2, 10.3, 10.4, 10.5, 10.6)
TABLE_5 = TABLES[4]
GAP, FC = "mlpconv + Global Average Pooling", "mlpconv + Fully Connected"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return project(tmp_path / "project")


def plant_all(root: Path, scale: str, errors: tuple[float, ...], experiment: str = "cifar10-nin") -> None:
    for seed, error in enumerate(errors):
        plant(root, PARAMS.run(scale, experiment), seed, error)


def row(root: Path, scale: str, method: str) -> dict[str, str]:
    frame = paper_table(load_study(PARAMS, scale, root), TABLE_5)
    cells: dict[str, str] = frame.set_index("Method").loc[method].to_dict()
    return cells


def write_all(root: Path, scale: str) -> dict[str, bytes]:
    write_tables(PARAMS, scale, root)
    write_figures(PARAMS, scale, root)
    write_report(PARAMS, scale, root)
    write_rescience(PARAMS, scale, root)
    folder = root / "results" / scale
    files = [f for f in sorted(folder.rglob("*")) if f.is_file() and "runs" not in f.relative_to(folder).parts]
    return {str(f.relative_to(folder)): f.read_bytes() for f in files}


# Tables


def test_no_run_one_run_and_five_runs_are_told_apart(root: Path) -> None:
    plant_all(root, "full", ERRORS)
    plant_all(root, "full", (11.5,), "cifar10-nin-fc")
    five, one = row(root, "full", GAP), row(root, "full", FC)
    none = row(root, "full", "mlpconv + Fully Connected + Dropout")
    assert (five["Ours %"], five["n"], five["One more run, 95 %"]) == ("10.40 ± 0.16", "5", "9.92 to 10.88")
    assert (one["Ours %"], one["n"], one["One more run, 95 %"]) == ("11.50", "1", "one run")
    assert (none["Ours %"], none["n"], none["One more run, 95 %"], none["Runs"]) == ("not run", "0", "not run", "–")
    assert [r["Mean, 95 %"] for r in (five, one, none)] == ["10.20 to 10.60", "one run", "not run"]
    assert [r["Verdict"] for r in (five, one, none)] == ["supported", "undecided", "not run"]


def test_a_changed_record_changes_the_table(root: Path) -> None:
    plant_all(root, "full", ERRORS)
    plant(root, PARAMS.run("full", "cifar10-nin"), 4, 12.6)
    assert row(root, "full", GAP)["Ours %"] == "10.80 ± 1.01"


def test_scores_say_how_many_runs_they_are_of_and_what_permuted_labels_give(root: Path) -> None:
    folder, permuted = root / "results/full/maps", "cifar10-nin-permuted"
    one, two = ({seed: {"hit": score(0.5, (0.4, 0.6), 9)} for seed in range(count)} for count in (1, 2))
    for name, seed in (("cifar10-nin", 0), ("cifar10-nin-fc", 0), ("cifar10-nin-fc", 1)):
        plant(root, PARAMS.run("full", name), seed, 10.0)
    save_scores(folder / "cifar10-nin.json", "cifar10-nin", "full", "gap", over_seeds(one))
    save_scores(folder / "cifar10-nin-fc.json", "cifar10-nin-fc", "full", "fc", over_seeds(two))
    told = scores_table(load_study(PARAMS, "full", root)).set_index("experiment")
    assert told.loc["cifar10-nin", ["value", "low", "high", "n", "runs"]].to_list() == [0.5, 0.4, 0.6, 9, 1]
    assert told.loc["cifar10-nin-fc", "runs"] == 2
    assert told["permuted_labels"].isna().all(), "not run"
    save_scores(folder / f"{permuted}.json", permuted, "full", "gap", over_seeds({0: {"hit": score(0.1, None, 9)}}))
    plant(root, PARAMS.run("full", permuted), 0, 90.0, train_error=88.0)
    told = scores_table(load_study(PARAMS, "full", root)).set_index("experiment")
    assert told["permuted_labels"].isna().all(), "labels that were not learnt make no null"
    plant(root, PARAMS.run("full", permuted), 0, 90.0, train_error=1.0)
    told = scores_table(load_study(PARAMS, "full", root)).set_index("experiment")
    assert told["permuted_labels"].dropna().to_dict() == {"cifar10-nin": 0.1, "cifar10-nin-fc": 0.1}


def test_collapsed_runs_are_counted_beside_n(root: Path) -> None:
    plant_all(root, "full", ERRORS[:4])
    plant(root, PARAMS.run("full", "cifar10-nin"), 4, 90.0, collapsed=True)
    plant(root, PARAMS.run("full", "cifar10-nin-fc"), 0, 90.0, collapsed=True)
    assert row(root, "full", GAP)["n"] == "4 (+1 collapsed)"
    assert row(root, "full", FC)["Ours %"] == row(root, "full", FC)["One more run, 95 %"] == "collapsed"
    plant(root, PARAMS.run("full", "cifar10-nin"), 3, 10.4, collapsed_attempts=[{"attempt": 0, "epochs": 3}])
    assert row(root, "full", GAP)["n"] == "4 (+1 collapsed, after 1 collapsed attempt)"
    assert "cifar10-nin-fc: collapsed, paper 11.59" in errors_picture(load_study(PARAMS, "full", root)).alt


def test_records_that_a_scale_did_not_ask_for_are_not_counted_as_recorded(root: Path) -> None:
    run = PARAMS.run("full", "cifar10-nin")
    for seed in range(run.scale.seeds + 2):
        plant(root, run, seed, 10.4)
    plant(root, PARAMS.run("full", "cifar10-nin-fc"), 0, 11.4, run_digest="another")
    study = load_study(PARAMS, "full", root)
    assert len(study.runs) == run.scale.seeds + 3
    assert study.recorded == run.scale.seeds
    shutil.rmtree(root / run.folder / "seed-0")
    study = load_study(PARAMS, "full", root)
    missing = missing_table(study).set_index("Not run")["Why"]
    assert missing["cifar10-nin"] == f"{run.scale.seeds - 1} of {run.scale.seeds} seeds recorded"


def test_epochs_of_attempts_that_collapsed_cost_time_too(root: Path) -> None:
    run = PARAMS.run("full", "cifar10-nin")
    plain = total_cost(load_study(PARAMS, "full", plant(root, run, 0, 10.4).parents[4]))
    assert "1 run took 17.36 PFLOP: 7 h 13 min on Known CPU, 2 threads." in plain
    died = [{"attempt": 0, "epochs": 130}]
    folder = plant(root, run, 0, 10.4, collapsed_attempts=died)
    told = total_cost(load_study(PARAMS, "full", root))
    assert "1 run took 26.03 PFLOP: 10 h 50 min on Known CPU, 2 threads." in told
    assert "This includes 130 epochs of attempts that collapsed" in told
    change(folder / "environment.json", seeds={"attempt": 0})  # it died for good: the record is of that attempt
    assert total_cost(load_study(PARAMS, "full", root)) == plain


def test_time_on_machines_of_two_kinds_is_not_added_up(root: Path) -> None:
    run = PARAMS.run("full", "cifar10-nin")
    plant(root, run, 0, 10.4)
    change(plant(root, run, 1, 10.4) / "environment.json", gpu="Known GPU")
    counted = {what: number for number, what in facts(load_study(PARAMS, "full", root))}
    assert counted["training on GPUs"] == counted["training on CPUs"] == "7 h 13 min"


def test_the_first_paragraph_says_which_rules_were_changed_after_runs(root: Path) -> None:
    plant_all(root, "full", ERRORS)
    study = load_study(PARAMS, "full", root)
    theirs = [claim for claim in study.claims if claim.origin == "paper"]
    raised = sum(claim.version > 1 for claim in theirs)
    late = sum("written after runs at paper scale" in claim.place for claim in theirs)
    assert f"{len(theirs) - raised - late} of the {len(theirs)} rules were written before the runs" in lead(study)
    assert f"; {late} were written after runs of this scale; {raised} were changed after runs" in lead(study)


def test_a_variant_that_learns_at_another_rate_is_named_beside_its_numbers(root: Path) -> None:
    study = load_study(PARAMS, "full", root)
    told = "`cifar10-nin-nodropout` learns at 0.25 of the rate of `cifar10-nin`."
    (text,) = (part for part in TEXT if any(row.experiment == "cifar10-nin-nodropout" for row in part.rows))
    assert one_paper_table(study, text).note == told
    assert "rate" not in one_paper_table(study, TABLES[-1]).note
    assert told in errors_picture(study).caption
    assert told in figure_3_picture(study).caption


def test_a_scale_without_evidence_reaches_no_verdict(root: Path) -> None:
    plant_all(root, "trial", ERRORS)
    study = load_study(PARAMS, "trial", root)
    assert row(root, "trial", GAP)["Verdict"] == NOT_TESTED
    assert {record["status"] for record in study.verdicts} == {NOT_TESTED}


@pytest.mark.parametrize("part", TABLES + TEXT, ids=lambda part: part.place)
def test_every_row_of_the_paper_is_kept_and_no_cell_is_empty(root: Path, part: object) -> None:
    frames = all_tables(load_study(PARAMS, "full", root))
    frame = frames[part.place.lower().replace(" ", "-").replace(".", "-")]  # type: ignore[attr-defined]  # a table of the paper
    assert frame["Paper %"].to_list() == [f"{r.error:.2f}" for r in part.rows]  # type: ignore[attr-defined]  # a table of the paper
    assert frame.map(bool).all(axis=None)


def test_the_written_claims_are_those_of_the_project_and_are_read_again(root: Path) -> None:
    plant_all(root, "full", ERRORS)
    first = write_all(root, "full")["tables/claims.json"]
    assert write_all(root, "full")["tables/claims.json"] == first
    frame = pd.read_csv(root / "results/full/tables/claims.csv").set_index("Claim")
    assert list(frame.index) == [claim.id for claim in load_claims(root / "claims.yaml")]
    assert frame.loc["table1-nin", ["Paper", "Ours", "Verdict"]].to_list() == ["10.41", "10.40", "supported"]


def test_an_earlier_verdict_stays_beside_that_of_the_raised_version(root: Path) -> None:
    plant_all(root, "full", ERRORS)
    write_tables(PARAMS, "full", root)
    claims = root / "claims.yaml"
    first, rest = claims.read_text().split("precision: 1.0", 1)
    raised = first.replace("version: 1", "version: 2\n    formerly: [Of old it said so.]", 1)
    claims.write_text(f"{raised}precision: 0.1{rest}")
    frame = all_tables(load_study(PARAMS, "full", root))["claims"].set_index("Claim")
    assert frame["Verdict"].to_list()[:2] == ["undecided", "supported"]
    assert list(frame.index[:2]) == ["table1-nin", "table1-nin (version 1, as judged on the runs of then)"]
    assert frame["What it says"].to_list()[1] == "Of old it said so."
    write_report(PARAMS, "full", root)


def test_the_effect_of_an_open_choice_is_paired_by_seed(root: Path) -> None:
    variant = "cifar10-nin-avgpool"
    other = replace(PARAMS.experiments["cifar10-nin"], name=variant, pool2="average")
    params = replace(PARAMS, experiments={**PARAMS.experiments, variant: other})
    plant_all(root, "full", ERRORS)
    for seed, error in enumerate(ERRORS):
        plant(root, params.run("full", variant), seed, round(error + 0.5, 2))
    frame = all_tables(load_study(params, "full", root))["open-choices"].set_index("Left open")
    effects = frame["Effect of choosing otherwise"]
    assert effects["second pooling"] == f"{variant}: +0.50 points (+0.50 to +0.50, n = 5)"


def test_an_effect_that_a_scale_lacks_is_another_scales_by_name(root: Path) -> None:
    ours, trial = "cifar10-nin-nodropout", "trial"
    half, literal = f"{ours}-half", f"{ours}-literal"
    params = replace(PARAMS, scales={**PARAMS.scales, trial: replace(PARAMS.scales[trial], keep_records=True)})
    dead = [{"attempt": attempt, "epochs": 2} for attempt in range(ATTEMPTS)]
    for name, error in ((ours, 20.0), (half, 21.25)):
        plant(root, params.run(trial, name), 0, error)
    plant(root, params.run(trial, literal), 0, 90.0, collapsed=True)
    plant(root, params.run(trial, "cifar10-nin-he"), 0, 90.0, collapsed=True, collapsed_attempts=dead)
    plant(root, params.run("full", "cifar10-nin"), 0, 10.4)
    effects = choices_table(load_study(params, "full", root)).set_index("Left open")["Effect of choosing otherwise"]
    epochs = sum(epochs for epochs, _ in params.run(trial, ours).recipe.phases)
    at = f", at scale {trial} (epochs: {epochs})"
    assert effects["learning rate without dropout"].split("; ") == [
        f"{half}: +1.25 points to {ours} (one run){at}",
        f"{literal}: 1 run, at chance at the end{at}",
    ]
    assert effects["initial weights"] == f"cifar10-nin-he: 1 run, died in every attempt{at}"
    assert effects["second pooling"] == "cifar10-nin-avgpool: not run"


def test_what_is_missing_is_listed_with_its_reason(root: Path) -> None:
    plant_all(root, "full", ERRORS[:3])
    plant_all(root, "full", ERRORS, "cifar10-nin-fc")
    experiments = {name: e for name, e in PARAMS.experiments.items() if name != "svhn-nin"}
    experiments["cifar10-nin-fc-dropout"] = replace(experiments["cifar10-nin-fc-dropout"], scales=("trial",))
    params = replace(PARAMS, experiments=experiments)
    missing = all_tables(load_study(params, "full", root))["missing"].set_index("Not run")["Why"]
    assert missing["cifar10-nin"] == "3 of 5 seeds recorded"
    assert missing["cifar10-cnn-gap"] == "0 of 5 seeds recorded"
    assert "cifar10-nin-fc" not in missing
    assert missing["cifar10-nin-fc-dropout"] == "not part of scale full"
    assert missing["svhn-nin"] == "params.yaml has no such experiment yet"


def test_costs_add_up(root: Path) -> None:
    plant_all(root, "full", ERRORS[:2])
    cost = all_tables(load_study(PARAMS, "full", root))["cost"].set_index("Experiment").loc["cifar10-nin"]
    assert cost["Training time"] == "14 h 26 min"  # 2 runs of 260 epochs of 100 s
    assert cost["Operations"] == "34.71 PFLOP"  # 2 runs x 3 passes x 445 MFLOP x 50,000 images x 260 epochs
    assert cost["Energy"] == "not measured"


@pytest.mark.parametrize(
    ("joules", "said"),
    [
        ([8000.0, 4_500_000.0], "4,508 kJ (GPU board)"),
        ([300.4, 21.0], "321 J (GPU board)"),
        ([300.4, None], "not measured"),
        ([], "not run"),
    ],
)
def test_energy_is_told_with_what_was_counted(joules: list[float | None], said: str) -> None:
    assert energy(pd.DataFrame({"energy_joules": joules, "energy_counted": "GPU board"})) == said


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0.4, "0 s"), (59.4, "59 s"), (59.6, "1 min 00 s"), (3599.6, "1 h 00 min"), (7500, "2 h 05 min")],
)
def test_durations_read_as_people_say_them(seconds: float, said: str) -> None:
    assert duration(seconds) == said


@pytest.mark.parametrize(("words", "said"), [([], ""), (["a"], "a"), (["a", "b"], "a and b"), ([*"abc"], "a, b and c")])
def test_lists_and_plurals_read_as_people_say_them(words: list[str], said: str) -> None:
    assert listed(words) == said
    assert (plural(1, "run"), plural(0, "run"), plural(1200, "run")) == ("1 run", "0 runs", "1,200 runs")


# Figures


def test_a_mean_curve_holds_only_epochs_that_every_run_measured() -> None:
    rows = {0: [{"epoch": 1.0, "e": 4.0}, {"epoch": 2.0, "e": 2.0}], 1: [{"epoch": 1.0, "e": 6.0}, {"epoch": 2.0}]}
    assert measured(rows, "e") == {1: [4.0, 6.0]}


@pytest.mark.parametrize("scale", ["trial", "full"])
def test_the_same_records_give_the_same_bytes(root: Path, scale: str) -> None:
    plant_all(root, scale, ERRORS)
    plant_all(root, scale, (12.0,), "cifar10-nin-nodropout")
    plant_scores(root, PARAMS.run(scale, "cifar10-nin"), {"claim1_rate.raw": (0.6, 0.59, 0.61)})
    first = write_all(root, scale)
    assert {"article.md", "metadata.yaml", "figures/map-scores.svg"} <= set(first)
    assert write_all(root, scale) == first


@pytest.mark.parametrize(("scale", "said"), [("trial", "not a reproduction of the paper"), ("full", "held against")])
def test_every_figure_says_which_scale_it_is_of(root: Path, scale: str, said: str) -> None:
    write_figures(PARAMS, scale, root)
    figures = sorted((root / f"results/{scale}/figures").glob("*.svg"))
    assert len(figures) == 6
    assert all(f"{scale.capitalize()} scale: {said}" in figure.read_text() for figure in figures)


def test_curves_as_long_as_the_papers_are_laid_over_them_and_shorter_ones_beside(root: Path) -> None:
    for scale, title in (("full", "Training error, full scale"), ("trial", "Ours, trial scale: not comparable")):
        plant_all(root, scale, ERRORS[:1])
        write_figures(PARAMS, scale, root)
        assert title in (root / f"results/{scale}/figures/figure-3.svg").read_text()


def test_curves_of_several_runs_are_their_mean_in_a_band_over_all_of_them(root: Path) -> None:
    plant_all(root, "full", ERRORS[:1])
    alone = draw_figure_3(load_study(PARAMS, "full", root)).axes[0]
    assert not alone.collections
    plant_all(root, "full", ERRORS)
    axes = draw_figure_3(load_study(PARAMS, "full", root)).axes[0]
    (band,) = axes.collections
    last = PARAMS.run("full", "cifar10-nin").recipe.epochs // 2 * 2
    there = [y for x, y in band.get_paths()[0].vertices if x == last]
    ends = [error + (90 - error) / last for error in ERRORS]  # as they were planted
    assert (min(there), max(there)) == pytest.approx((min(ends), max(ends)), abs=1e-3)
    (line,) = (line for line in axes.lines if line.get_marker() != "o")
    assert list(line.get_ydata())[-1] == pytest.approx(sum(ends) / len(ends), abs=1e-3)


@pytest.mark.parametrize("seeds", [1, 3])
def test_scores_of_maps_are_dots_with_their_interval_and_one_dot_more_for_each_of_several_seeds(
    root: Path, seeds: int
) -> None:
    for seed in range(seeds):
        plant(root, PARAMS.run("full", "cifar10-nin"), seed, 10.0)
    plant_scores(root, PARAMS.run("full", "cifar10-nin"), {"claim1_rate.raw": (0.6, 0.5, 0.75)}, seeds)
    panel = draw_scores(load_study(PARAMS, "full", root)).axes[0]
    drawn = [list(map(float, line.get_xdata())) for line in panel.lines]
    assert drawn == [[0.5, 0.75], *([[0.6] * seeds] if seeds > 1 else []), [0.6]]


# The page


class Page(HTMLParser):
    """What a page would fetch, and the text it shows."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.fetched: list[str] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            link = name in ("href", "xlink:href") and tag != "a" and not (value or "").startswith("#")
            if link or name in ("src", "srcset", "poster", "action", "background", "data"):
                self.fetched.append(value or "")
        assert tag not in ("script", "iframe", "object", "embed", "base")

    def handle_data(self, data: str) -> None:
        self.text += data


def test_the_page_asks_the_network_for_nothing(root: Path) -> None:
    plant_all(root, "full", ERRORS)
    maps = root / "results/full/figures/maps-cifar10-nin.png"
    maps.parent.mkdir(parents=True)
    maps.write_bytes(b"picture")
    html = write_all(root, "full")["report.html"].decode()
    page = Page(html)
    assert page.fetched
    assert all(address.startswith("data:") for address in page.fetched)
    assert not re.search(r"@import|url\((?!#)", html)
    assert len(html) < 6_000_000


def test_ids_on_the_page_are_unique_and_references_reach_them(root: Path) -> None:
    html = write_all(root, "trial")["report.html"].decode()
    ids = re.findall(r'\bid="([^"]+)"', html)
    assert len(ids) == len(set(ids))
    assert set(re.findall(r'(?:url\(|href=")#([^")]+)', html)) <= set(ids)


@pytest.mark.parametrize("name", ["report.html", "README.md"])
def test_a_scale_without_evidence_says_so_in_its_banner_and_every_caption(root: Path, name: str) -> None:
    plant_all(root, "trial", ERRORS[:1])
    text = write_all(root, "trial")[name].decode()
    captions = text.count("<figcaption>") if name == "report.html" else text.count("Made by ")
    label = "Trial scale: not a reproduction of the paper"
    assert text.index(label) < text.index("At a glance")
    assert text.count(f"{label}.") > captions > 10


@pytest.mark.parametrize(("scale", "kind"), [("demo", "demonstration"), ("short", "records"), ("paper", "evidence")])
def test_demo_short_and_paper_scale_are_told_apart_at_first_sight(root: Path, scale: str, kind: str) -> None:
    page = write_report(PARAMS, scale, root)
    html = page.read_text()
    assert f'<body class="{kind}">' in html
    assert f'<span class="scale">{scale} scale</span></h1>' in html
    assert page.with_name("README.md").read_text().startswith(f"# Network In Network, run again: {scale} scale\n")


def test_each_table_and_figure_names_command_folder_and_commit(root: Path) -> None:
    plant_all(root, "full", ERRORS[:1])
    plant_all(root, "full", ERRORS[:2], "cifar10-nin-fc")
    text = write_all(root, "full")["README.md"].decode()
    origins = re.findall(r"<sub>(.*)</sub>", text)
    assert all(re.match(r"Made by `(dvc repro \S+@full|make torture)`", origin) for origin in origins)
    behind = r"runs? in .*, trained at commit 0123456789|no runs? yet|no run: |nothing measured|never run here"
    assert [origin for origin in origins if not re.search(behind, origin)] == []
    table_5 = next(origin for origin in origins if "table-5" in origin)
    assert table_5.endswith("3 runs in `runs/cifar10-nin`, `runs/cifar10-nin-fc`, trained at commit 0123456789.")
    parts = [item for section in write_article(load_study(PARAMS, "full", root)).sections for item in section.items]
    missing = text.count("*Missing: ")  # where a figure has not been made, its command stands in its place
    assert len(origins) == len(parts) - missing


def test_what_is_kept_names_no_folder_of_the_machine_that_made_it() -> None:
    kept = [
        p for p in (ROOT / "results").rglob("*") if p.suffix in (".json", ".md", ".ipynb", ".csv", ".yaml", ".html")
    ]
    folders = re.compile(rf"(?<![\w./:-])(?:{re.escape(str(ROOT))}|/(?:home|root|Users|tmp|work|mnt)/\w)")
    tracked = subprocess.run(
        ["git", "ls-files", "results"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.splitlines()
    assert tracked
    for path in (path for path in kept if str(path.relative_to(ROOT)) in tracked):
        assert not (found := folders.search(path.read_text(encoding="utf-8"))), (path, found)


def test_what_is_kept_is_what_its_records_give(tmp_path: Path) -> None:
    """Reports, tables and figures of the repository, written anew from its records, are the same bytes."""
    params = load_params(ROOT)
    for scale in [study.scale.name for study in kept_studies(params, ROOT)]:
        here = project(tmp_path / scale)
        shutil.copytree(ROOT / "results", here / "results")
        kept = {p: p.read_bytes() for p in (here / "results" / scale).rglob("*") if p.is_file()}
        for path in kept:
            if path.suffix in (".csv", ".svg", ".html", ".md", ".yaml") and not {"runs", "dvc"} & {*path.parts}:
                path.unlink()
        for write in (write_weights, write_tables, write_figures, write_report, write_rescience):
            write(params, scale, here)
        made = {path: path.read_bytes() if path.is_file() else None for path in kept}
        assert [str(p.relative_to(here)) for p in kept if made[p] != kept[p]] == [], f"dvc repro -s report@{scale}"


def test_every_table_of_the_page_is_a_file_that_is_written(root: Path) -> None:
    plant_all(root, "full", ERRORS)
    plant_scores(root, PARAMS.run("full", "cifar10-nin"), {"box_hit.raw.dense": (0.7, 0.6, 0.8)})
    study = load_study(PARAMS, "full", root)
    items = [item for section in write_article(study).sections for item in section.items]
    named = {item.file for item in items if isinstance(item, Table) and item.file.startswith("tables/")}
    assert "tables/box-classes.csv" in named
    assert named <= {f"tables/{name}.csv" for name in all_tables(study)}


def test_several_runs_are_drawn_with_their_spread_and_single_ones_as_dots(root: Path) -> None:
    plant_all(root, "full", ERRORS[:1])
    plant_all(root, "full", ERRORS, "cifar10-nin-fc")
    (axes,) = draw_errors(load_study(PARAMS, "full", root)).axes
    lines = [line for line in axes.lines if len(line.get_ydata())]
    dots = {line.get_ydata()[0]: len(line.get_xdata()) for line in lines if line.get_marker() == "o"}
    bars = [line.get_ydata()[0] for line in lines if line.get_linewidth() == 4]
    rows = [e.name for e in load_study(PARAMS, "full", root).experiments]
    assert (dots[rows.index("cifar10-nin")], dots[rows.index("cifar10-nin-fc")]) == (1, 5)
    assert bars == [rows.index("cifar10-nin-fc")]


def test_every_figure_on_the_page_can_be_heard(root: Path) -> None:
    plant_all(root, "full", ERRORS)
    (root / "results/full/figures").mkdir()
    for name in ("maps-cifar10-nin", "attribution-cifar10-nin"):
        Image.new("RGB", (4, 4)).save(root / f"results/full/figures/{name}.png")
    plant_scores(root, PARAMS.run("full", "cifar10-nin"), {"claim1_rate.raw": (0.6, 0.59, 0.61)})
    html = write_all(root, "full")["report.html"].decode()
    drawn = re.findall(r"<(?:svg|img)[^>]*>", html)
    assert len(drawn) == 7
    assert all(re.search(r'(?:aria-label|alt)="[^"]{40,}"', tag) for tag in drawn)


def test_the_page_holds_one_picture_of_other_attributions_and_links_the_rest(root: Path) -> None:
    (root / "results/full/figures").mkdir(parents=True)
    for name in ("attribution-cifar10-nin-fc", "attribution-cifar10-nin"):
        Image.new("RGB", (4, 4)).save(root / f"results/full/figures/{name}.png")
    html = write_all(root, "full")["report.html"].decode()
    (shown,) = re.findall(r"<img[^>]*>", html)
    assert "that cifar10-nin makes of each" in shown
    assert '<a href="figures/attribution-cifar10-nin-fc.png">cifar10-nin-fc</a>' in html


def test_claims_without_a_number_are_folded_behind_those_with_one(root: Path) -> None:
    plant_all(root, "full", ERRORS)
    write_report(PARAMS, "full", root)
    opened, folded = (root / "results/full/README.md").read_text().split("<details>", 1)
    assert "table1-nin, Table 1" in opened
    assert "table2-nin, Table 2" not in opened
    assert "table2-nin, Table 2" in folded.split("</details>")[0]
    write_report(PARAMS, "demo", root)  # where none has a number all stand in the open
    empty = (root / "results/demo/README.md").read_text()
    assert "table2-nin, Table 2" in empty
    assert "<details>" not in empty


def test_a_scale_on_other_data_says_so(root: Path) -> None:
    said = "trained and tested on scikit-learn's digits, where the paper has CIFAR-10"
    assert said in Page(write_all(root, "smoke")["report.html"].decode()).text
    assert said not in Page(write_all(root, "full")["report.html"].decode()).text


def test_the_page_shows_the_recorded_number_and_another_after_the_record_changes(root: Path) -> None:
    plant_all(root, "trial", (34.56,))
    assert "34.56" in Page(write_all(root, "trial")["report.html"].decode()).text
    plant_all(root, "trial", (43.21,))
    changed = Page(write_all(root, "trial")["report.html"].decode()).text
    assert "43.21" in changed
    assert "34.56" not in changed


def test_missing_figures_look_missing_and_nothing_recorded_is_said(root: Path) -> None:
    write_report(PARAMS, "full", root)
    text = Page((root / "results/full/report.html").read_text()).text
    assert "missing: figures/figure-3.svg has not been made" in text
    assert "Nothing is recorded at this scale yet" in text


def test_the_summary_holds_a_line_for_each_experiment_and_the_way_to_the_report(root: Path) -> None:
    plant_all(root, "trial", (35.5,))
    lines = summary(PARAMS, "trial", root).splitlines()
    assert lines[2].split() == ["cifar10-nin", "35.50", "10.41", "17.75", "500"]
    assert lines[3].split() == ["cifar10-nin-nodropout", "not", "run", "14.51", "–", "–"]
    assert lines[-1] == "Report: none yet: dvc repro report@trial"
    (root / "results" / "trial" / "report.html").write_text("a page")
    assert summary(PARAMS, "trial", root).endswith("results/trial/report.html")


def test_the_report_says_whether_the_engine_s_tricks_change_errors(root: Path) -> None:
    assert agreements(root) == []
    machine = {"gpu": None, "processor": "Known CPU", "threads": 1, "precision": "bfloat16"}
    errors = {"engine": {"0": 33.0, "1": 34.0, "2": 35.0}, "plain": {"0": 32.0, "1": 34.0, "2": 36.0}}
    told = {"experiment": "cifar10-nin", "scale": "demo", "test_errors": errors, "machine": machine}
    path = root / "results" / "benchmarks" / "agreement" / "known-cpu.json"
    path.parent.mkdir(parents=True)
    write_json(path, told)
    [sentence] = agreements(root)
    assert "were not told apart on a CPU: 3 seeds of `cifar10-nin`" in sentence
    assert "34.00 ± 1.00 % and 34.00 ± 2.00 %" in sentence
    assert "+0.00 points (95 %: -2.48 to +2.48, p = 1.00; Known CPU, 1 thread)" in sentence
    write_json(path, told | {"test_errors": errors | {"plain": {"0": 22.9, "1": 24.0, "2": 25.1}}})
    assert "were told apart" in agreements(root)[0]
    assert "were told apart" in write_all(root, "trial")["report.html"].decode()
