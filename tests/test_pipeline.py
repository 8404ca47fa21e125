"""The picture of the pipeline is that of dvc.yaml."""

from pathlib import Path

import pytest
from planted import ROOT

from niny.errors import NinyError
from niny.report.pipeline import edges, pipeline_text, reduced

STAGES = {
    "get": {"outs": [{"data/raw": {"cache": False}}]},
    "fit": {"foreach": "${list}", "do": {"deps": ["data", "${item.more}"], "outs": ["out/${item}/fits"]}},
    "draw": {"foreach": "${list}", "do": {"deps": ["data/raw", "out/${item}/fits/best"], "outs": ["out/${item}/page"]}},
}


def test_an_arrow_leads_from_what_is_made_to_what_reads_it_its_folder_or_a_part() -> None:
    assert edges(STAGES) == {("get", "fit"), ("fit", "draw"), ("get", "draw")}


def test_an_arrow_that_only_shortens_a_way_is_left_out() -> None:
    assert reduced(edges(STAGES)) == {("get", "fit"), ("fit", "draw")}


def test_the_project_s_picture_has_every_stage() -> None:
    shown = pipeline_text(ROOT)
    stages = ["sources", "data", "train", "maps", "attribution", "explorer", "weights", "tables", "metrics", "report"]
    assert all(f" {stage}" in shown for stage in stages)
    assert "  train --> maps" in shown


@pytest.mark.parametrize("text", ["stages: {}", "[]", "stages: [1]"])
def test_a_file_without_stages_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "dvc.yaml").write_text(text)
    with pytest.raises(NinyError, match="no stages"):
        pipeline_text(tmp_path)
