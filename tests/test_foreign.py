"""The authors' own network in the report: its record says what it is, and the report repeats no more than that."""

from pathlib import Path

import pytest
import torch
from planted import plant, plant_scores, project, study_params

from niny.cli import main
from niny.errors import NinyError
from niny.files import write_json
from niny.maps import foreign as keeping
from niny.maps.intervals import Scores
from niny.maps.listing import Found
from niny.models import initialise, nin_cifar
from niny.models.weights import save_weights
from niny.report.class_maps import authors_network, published
from niny.report.foreign import AUTHORS, foreign_table
from niny.report.parts import Table
from niny.report.published import published_table
from niny.report.study import Study, load_study
from niny.report.tables import all_tables, scores_table
from niny.training.device import Compute
from niny.training.loop import Evaluation

PARAMS = study_params()
SCORES = {
    "claim1_rate.raw": {"value": 0.51, "interval": [0.5, 0.52], "n": 10_000, "seeds": {"0": 0.51}},
    "claim1_rate.uniform": {"value": 0.1, "interval": None, "n": 1000, "seeds": {"0": 0.1}},
}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return project(tmp_path / "project")


def kept(root: Path, data: str = "cifar10", scores: Scores = SCORES) -> Study:
    folder = root / "results/authors"
    about = {"weights": "net.caffemodel", "sha256": "ab" * 32, "data": data, "test_error": 10.43, "test_images": 10_000}
    about["grids"] = 500
    write_json(folder / "maps.json", {**about, "scores": scores})
    write_json(folder / "environment.json", {"commit": "0123456789abcdef", "changed": False})
    return load_study(PARAMS, "full", root)


def test_the_section_tells_the_error_its_sampling_error_and_whose_weights_they_are(root: Path) -> None:
    (section,) = authors_network(kept(root))
    assert "errs here on 10.43 % of the test images (sampling error of the test set: 9.85 to 11.04)" in section.words[0]
    assert "`net.caffemodel`, SHA-256 abababababab, commit 0123456789" in section.items[0].origin


def test_questions_are_answered_by_their_scores_and_never_by_ours(root: Path) -> None:
    plant(root, PARAMS.run("full", "cifar10-nin"), 0, 10.0)
    plant_scores(root, PARAMS.run("full", "cifar10-nin"), {"gridpg3_hit.raw": (0.7, 0.6, 0.8)})
    table = foreign_table(kept(root)).set_index("Score")
    assert table.loc["claim1_rate.raw", "Value"] == "0.510"
    assert "uniform 0.100" in table.loc["claim1_rate.raw", "Nulls"]
    assert table.loc["gridpg3_hit.raw", "Value"] == "not measured"
    assert "authors" in all_tables(kept(root))


def test_our_network_of_permuted_labels_is_a_null_for_theirs_where_it_learnt_them(root: Path) -> None:
    run = PARAMS.run("full", "cifar10-nin-permuted")
    plant_scores(root, run, {"claim1_rate.raw": (0.12, 0.11, 0.13)})

    def told(train_error: float) -> tuple[str, str]:
        plant(root, run, 0, 90.0, train_error=train_error)
        study = kept(root)
        (section,) = authors_network(study)
        return foreign_table(study).set_index("Score").loc["claim1_rate.raw", "Nulls"], section.words[0]

    nulls, words = told(88.0)
    assert "permuted" not in nulls
    assert "The null of permuted labels is missing" in words
    nulls, words = told(5.0)
    assert "permuted labels 0.120" in nulls
    assert "`cifar10-nin-permuted`" in words


def test_their_scores_are_in_the_table_of_all_scores_and_ours_are_not_theirs(root: Path) -> None:
    plant(root, PARAMS.run("full", "cifar10-nin"), 0, 10.0)
    plant_scores(root, PARAMS.run("full", "cifar10-nin"), {"gridpg3_hit.raw": (0.7, 0.6, 0.8)})
    scores = scores_table(kept(root)).set_index("experiment")
    assert scores.loc["cifar10-nin", "score"] == "gridpg3_hit.raw"
    theirs = scores.loc[AUTHORS, ["score", "value", "low", "high", "n", "runs", "uniform"]]
    assert theirs.to_list() == ["claim1_rate.raw", 0.51, 0.5, 0.52, 10_000, 1, 0.1]
    assert AUTHORS not in set(scores_table(kept(root, "cifar100"))["experiment"])


def test_every_kind_of_their_scores_is_folded_under_their_section(root: Path) -> None:
    study = kept(root)
    (section,) = authors_network(study)
    table = section.items[1]
    assert isinstance(table, Table)
    assert table.folded
    assert table.origin == section.items[0].origin
    first = table.frame.iloc[0]
    assert first.to_list() == ["largest activation in the true class's map", "0.510\n0.500 to 0.520", "10,000"]
    nulls = section.items[2]
    assert isinstance(nulls, Table)
    assert nulls.frame.iloc[0].to_list() == [first.iloc[0], "uniform 0.100"]
    assert all_tables(study)["authors-readings"].iloc[0]["raw"] == "0.510 (0.500 to 0.520)"
    assert "authors-readings" not in all_tables(kept(root, "cifar100"))


def test_their_median_stands_beside_the_published_ones(root: Path) -> None:
    plant(root, PARAMS.run("full", "cifar10-nin"), 0, 10.0)
    plant_scores(root, PARAMS.run("full", "cifar10-nin"), {"gridpg3_hit.raw": (0.7, 0.6, 0.8)})
    median = {"value": 0.2, "interval": [0.1, 0.3], "n": 7, "seeds": {"0": 0.2}}
    study = kept(root, scores=SCORES | {"gridpg3_mass_median.raw.confident": median})
    table = published_table(study).set_index(["Whose network", "Attribution"])
    assert table.loc[(AUTHORS, "class map, raw"), ["Median", "n"]].to_list() == ["0.200\n0.100 to 0.300", "7 grids"]
    assert table.loc[("cifar10-nin", "class map, raw"), "Median"] == "not measured"
    (shown,) = published(study)
    assert shown.origin.endswith("of the authors' network in `results/authors`, commit 0123456789")


def test_without_a_record_or_with_one_of_other_images_nothing_is_shown(root: Path) -> None:
    assert authors_network(load_study(PARAMS, "full", root)) == ()
    assert authors_network(kept(root, "cifar100")) == ()
    assert "authors" not in all_tables(kept(root, "cifar100"))


def test_what_is_kept_names_the_file_its_digest_and_its_error(
    tmp_path: Path, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights, folder = tmp_path / "net.caffemodel", tmp_path / "authors"
    weights.write_bytes(b"weights")
    monkeypatch.setattr(keeping, "evaluate_file", lambda *_: Evaluation(10.43, torch.zeros(10_000)))
    found = Found(weights, "cifar10", "gap", (0,), 500, SCORES, {}, {}, "not run", 46.0, 2)
    keeping.keep_found(found, PARAMS, folder, root, Compute(torch.device("cpu"), torch.float32), attribution=True)
    record = keeping.RECORD
    assert '"weights": "net.caffemodel"' in (folder / record).read_text()
    assert '"seconds": 46' in (folder / record).read_text()
    assert '"test_error": 10.43' in (folder / record).read_text()
    assert str(tmp_path) not in (folder / record).read_text() + (folder / "environment.json").read_text()


def test_weights_of_a_run_are_refused_before_anything_is_scored(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    net, path = nin_cifar(width=0.05), tmp_path / "weights.safetensors"
    initialise(net, "he", 0.0, 0)
    save_weights(path, net.state_dict(), {"experiment": "cifar10-nin", "scale": "short", "run_digest": "0"})
    with pytest.raises(NinyError, match="dvc repro maps@short-cifar10-nin keeps its scores"):
        keeping.check_foreign(path, tmp_path / "kept")
    assert main(["maps", "score", str(path), "--keep", str(tmp_path / "kept")]) == 1
    assert "is of a run of this study" in capsys.readouterr().err
    assert not (tmp_path / "kept").exists()
    with pytest.raises(NinyError, match="is a folder; name a weights file"):
        keeping.check_foreign(tmp_path, tmp_path / "kept")
    save_weights(path, net.state_dict(), {"format": "pt"})  # as others' files have it
    keeping.check_foreign(path, tmp_path / "kept")
    with pytest.raises(NinyError, match="is a file; name a folder"):
        keeping.check_foreign(tmp_path / "net.caffemodel", path)
