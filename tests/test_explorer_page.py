"""The explorer in a real browser: it shows the planted numbers, obeys pointer and keys, and asks for nothing."""

import base64
import itertools
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from browser import DESK, PHONE, Visit, chromium, visits
from conftest import ROOT
from explorer_payload import CLASSES, DEAD, EPOCHS, FIELD, FOLLOWED, IMAGES, pack, payload, plant, unpack
from planted import plant as plant_run
from planted import project, study_params

from niny.errors import NinyError
from niny.maps.figure4 import top_cells
from niny.maps.views import VIEWS
from niny.report import write_figures, write_report, write_tables
from niny.report.explorer import HERE, embedded

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Locator, ViewportSize

PARAMS = study_params()
MADE = payload()
MAPS = unpack(MADE["maps"])
PAGE = """<!DOCTYPE html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>Explorer</title>
<link rel="icon" href="data:,"><style>{css}</style><div id="place"></div>
<script type="application/json" id="payload">{payload}</script>
<script type="module">{module}
const payload = JSON.parse(document.getElementById("payload").textContent);
Object.assign(window, {{ sent: [], heard: 0 }});
addEventListener("keydown", ({{ key }}) => (window.heard += /Arrow|Page|Home|End/.test(key)));
const model = {{ get: (name) => ({{ payload, live: {live} }})[name], on: (_, heard) => (window.answer = heard),
  off() {{}}, send: (message) => window.sent.push(message) }};
Object.assign(window, {{ views, unpack, top10 }});
render({{ model, el: document.getElementById("place") }});
</script></html>"""


@pytest.fixture(scope="module")
def browser() -> Iterator["Browser"]:
    with chromium() as found:
        yield found


@pytest.fixture(scope="module")
def window(browser: "Browser") -> Iterator[Visit]:
    with visits(browser) as seen:
        yield seen


@pytest.fixture
def explorer(window: Visit, tmp_path: Path) -> Iterator[Visit]:
    """The explorer of the planted payload; whatever a test does with it, it must not complain.

    `heard` counts arrow keys that reach the page around it, which would scroll, or a notebook, which would leave.
    """
    yield window.open(alone(tmp_path, MADE))
    assert window.wrong() == []


@pytest.fixture
def live(window: Visit, tmp_path: Path) -> Iterator[Visit]:
    """The same before a network that only writes down what it is asked."""
    yield window.open(alone(tmp_path, MADE, live=True))
    assert window.wrong() == []


def alone(folder: Path, made: dict[str, Any], *, live: bool = False) -> Path:
    """A page with nothing but the explorer."""
    css, module = ((HERE / f"explorer.{kind}").read_text() for kind in ("css", "js"))
    path = folder / "explorer.html"
    path.write_text(PAGE.format(css=css, module=module, payload=embedded(made), live=str(live).lower()))
    return path


def shown(seen: Visit) -> list[str]:
    """The numbers under the maps."""
    return seen.texts(".map figcaption > span")


def labels(seen: Visit) -> list[str]:
    """What a screen reader says of the maps."""
    found: list[str] = seen.page.locator(".cells").evaluate_all("(all) => all.map((one) => one.ariaLabel)")
    return found


def written(numbers: Any) -> list[str]:
    """Numbers as the page writes them, for those that need no more than two decimals."""
    return [f"{number:.2f}".replace("-", "−") for number in numbers]


def image(i: int) -> str:
    return f"Test image {MADE['images'][i]['index']}:"


def peak(values: Any) -> list[int]:
    """Row and column, from 1, of the largest value."""
    return [int(n) + 1 for n in np.unravel_index(np.argmax(values), values.shape)]


def focused(seen: Visit) -> "Locator":
    return seen.page.locator(":focus")


# Numbers


def test_each_reading_is_that_of_the_package(explorer: Visit) -> None:
    for name, view in VIEWS.items():
        found = explorer.page.evaluate(
            "([packed, name]) => [...views[name](unpack(packed)).values]", [pack(MAPS[3]), name]
        )
        expected = view(torch.from_numpy(unpack(pack(MAPS[3])))[None])
        np.testing.assert_allclose(found, expected.flatten(), rtol=1e-9, atol=1e-12)


def test_cells_that_tie_have_no_margin(explorer: Visit) -> None:
    maps = np.zeros((3, 1, 2))
    maps[:2, 0, 0] = 1.0
    found = explorer.page.evaluate("(packed) => [...views.margin(unpack(packed)).values]", pack(maps))
    assert found == [0, 0, 0, 0, -1, 0]


def test_the_top_tenth_is_that_of_the_package_and_ties_all_count(explorer: Visit) -> None:
    sparse = MAPS[0] * (MAPS[0] > np.quantile(MAPS[0], 0.95))  # the threshold falls among zeros
    for maps in (MAPS[0], sparse):
        found = explorer.page.evaluate("(packed) => top10(unpack(packed))", pack(maps))
        assert found == top_cells(torch.from_numpy(maps)[None])[0].flatten().tolist()


def test_the_number_under_each_map_is_its_logit(explorer: Visit) -> None:
    assert shown(explorer) == written(MADE["images"][0]["logits"])
    assert "its logit" in explorer.texts(".legend p")[0]


def test_a_fully_connected_heads_maps_are_read_as_any(window: Visit, tmp_path: Path) -> None:
    seen = window.open(alone(tmp_path, payload(head="fc", field=None)))
    assert shown(seen) == written(MAPS[0].mean((1, 2)))
    assert "its logit" in seen.texts(".legend p")[0]
    assert "not known" in seen.texts(".picture p")[0]
    assert not seen.page.locator(".seen").is_visible()


def test_scores_over_many_images_stand_with_their_intervals(explorer: Visit) -> None:
    explorer.page.get_by_text("Over many test images").click()
    assert explorer.texts("dl div") == ["claim1_rate.raw\n0.595 (0.585 to 0.605)"]


def test_all_maps_of_an_image_stand_on_one_scale(explorer: Visit) -> None:
    k, row, column = np.unravel_index(np.argmax(MAPS[0]), MAPS[0].shape)
    script = "(canvas, [x, y]) => [...canvas.getContext('2d').getImageData(x, y, 1, 1).data]"
    canvases = explorer.page.locator(".map canvas")
    assert canvases.nth(int(k)).evaluate(script, [int(column), int(row)]) == [253, 231, 37, 255]
    assert canvases.nth(DEAD).evaluate(script, [0, 0]) == [68, 1, 84, 255]
    assert explorer.texts(".bar span") == ["0.00", f"{MAPS[0].max():.2f}"]


# Readings, images, epochs, tabs


def test_the_switch_changes_the_reading_and_says_so(explorer: Visit) -> None:
    raw, maps = shown(explorer), torch.from_numpy(MAPS[:1])
    for name in ("centred", "margin", "softmax"):
        explorer.page.check(f"input[value={name}]")
        numbers = [float(text.replace("−", "-")) for text in shown(explorer)]
        np.testing.assert_allclose(numbers, VIEWS[name](maps)[0].mean((1, 2)), atol=6e-3)
        assert explorer.status().lower().startswith(name)
        assert shown(explorer) != raw
        assert explorer.texts(".bar span")[0].startswith("0.00" if name == "softmax" else "−")
    explorer.page.keyboard.press("ArrowRight")
    counts = top_cells(maps)[0].sum((1, 2)).tolist()
    assert shown(explorer) == [f"{count} of 64" for count in counts]
    assert labels(explorer)[DEAD] == f"{CLASSES[DEAD]}; 0 of 64"


def test_a_click_and_arrow_keys_choose_images(explorer: Visit) -> None:
    options = explorer.page.locator("[role=option]")
    assert options.count() == IMAGES
    options.nth(3).click()
    assert explorer.status().startswith(image(3))
    assert shown(explorer) == written(MAPS[3].mean((1, 2)))
    for key, i in (("ArrowRight", 4), ("ArrowLeft", 3), ("End", IMAGES - 1), ("ArrowDown", IMAGES - 1), ("Home", 0)):
        explorer.page.keyboard.press(key)
        assert explorer.status().startswith(image(i))
        assert focused(explorer).get_attribute("aria-selected") == "true"
    assert explorer.page.locator("[role=option][tabindex='0']").count() == 1
    assert explorer.page.evaluate("window.heard") == 0


def test_true_and_predicted_classes_are_framed_and_named(explorer: Visit) -> None:
    about = MADE["images"][1]
    explorer.page.locator("[role=option]").nth(1).click()
    assert explorer.texts(".map.true b") == [CLASSES[about["label"]]]
    assert explorer.texts(".map.predicted b") == [CLASSES[about["predicted"]]]
    assert f"{CLASSES[about['label']]}, taken for {CLASSES[about['predicted']]}" in explorer.status()
    names = labels(explorer)
    for k, name in enumerate(names):
        row, column = peak(MAPS[1, k])
        assert name.startswith(CLASSES[k])
        assert f"{written([MAPS[1, k].mean()])[0]}; largest cell row {row}, column {column}:" in name
    assert ["true" in name.split("; ") for name in names] == [k == about["label"] for k in range(10)]


def test_images_are_found_by_class_by_verdict_and_by_number(explorer: Visit) -> None:
    page = explorer.page
    page.get_by_role("combobox", name="Images").select_option("mistaken")
    wrong = [i for i in range(IMAGES) if i % 2]
    assert page.locator("[role=option]").count() == len(wrong)
    assert explorer.status().startswith(image(wrong[0]))
    label = MADE["images"][wrong[1]]["label"]
    page.get_by_role("combobox", name="Class").select_option(CLASSES[label])
    alike = [i for i in wrong if MADE["images"][i]["label"] == label]
    assert page.locator("[role=option]").count() == len(alike)
    page.get_by_label("Number of a test image").fill(str(MADE["images"][4]["index"]))
    page.keyboard.press("Enter")
    assert explorer.status().startswith(image(4))
    assert page.locator("[role=option]").count() == IMAGES
    page.get_by_label("Number of a test image").fill("9999")
    page.get_by_role("button", name="Show").click()
    assert explorer.status() == f"Test image 9999 is not among the {IMAGES} kept here."
    page.get_by_role("combobox", name="Class").select_option(CLASSES[DEAD])
    page.get_by_role("combobox", name="Images").select_option("recognised")
    assert explorer.status() == "No image here is of that kind."


def test_the_slider_leafs_through_the_epochs(explorer: Visit) -> None:
    slider = explorer.page.get_by_label("Epoch")
    kept = unpack(MADE["epochs"]["maps"])
    assert slider.get_attribute("aria-valuetext") == "trained network"
    slider.focus()
    said = ["epoch 1, test error 80.0 %", "epoch 2", "epoch 5, test error 20.5 %"]
    for i in reversed(range(len(EPOCHS))):
        explorer.page.keyboard.press("ArrowLeft")
        assert slider.get_attribute("aria-valuetext") == said[i]
        means = kept[i, 0].mean((1, 2))
        assert shown(explorer) == written(means)
        assert explorer.status() == f"Predicted: {CLASSES[means.argmax()]}."
        assert explorer.texts(".map.predicted b") == [CLASSES[means.argmax()]]
        assert float(explorer.texts(".bar span")[1]) == pytest.approx(MAPS[0].max(), abs=0.01)  # one scale for all
    explorer.page.locator("[role=option]").nth(FOLLOWED).click()
    assert not slider.is_visible()


def test_tabs_go_by_keys_and_show_attributions_and_grids(explorer: Visit) -> None:
    page = explorer.page
    page.get_by_role("tab", name="Class maps").focus()
    page.keyboard.press("ArrowRight")
    assert focused(explorer).inner_text() == "Attribution"
    assert page.get_by_role("tabpanel", name="Attribution").is_visible()
    first = MADE["attributions"][0]
    said = written([first["agreement"][0], first["centre"][0]])
    assert explorer.texts(".map b") == [CLASSES[MADE["images"][0]["predicted"]], "Saliency", "Grad-CAM at mlpconv2"]
    assert shown(explorer)[1] == f"{said[0]}; other image –, centre {said[1]}"
    page.keyboard.press("End")
    grid = MADE["grids"][0]
    assert explorer.texts(".map b") == [CLASSES[label] for label in grid["labels"]]
    hits = {reading: "\u00a0✓" if grid["hit"][reading][8] else "" for reading in grid["mass"]}
    numbers = [f"{reading}\u00a0{written([mass[8]])[0]}{hits[reading]}" for reading, mass in grid["mass"].items()]
    assert shown(explorer)[8] == ", ".join(numbers)
    home, cells = (page.locator(name).nth(5).bounding_box() for name in (".home", ".cells"))
    assert home
    assert cells
    third = cells["width"] / 3
    assert (home["x"] - cells["x"], home["y"] - cells["y"]) == pytest.approx((2 * third, third), abs=1)
    page.get_by_role("button", name="Next grid").click()
    names = [CLASSES[label] for label in MADE["grids"][1]["labels"]]
    assert explorer.status() == f"Grid 2 of 2: {', '.join(names)}."
    assert explorer.texts(".map b") == names
    assert focused(explorer).inner_text() == "Next grid"


def test_tabs_without_anything_in_them_are_not_offered(window: Visit, tmp_path: Path) -> None:
    window.open(alone(tmp_path, payload(grids=[], attributions=[], epochs=None, scores={})))
    assert window.texts("[role=tab]") == ["Class maps"]
    assert not window.page.get_by_label("Epoch").is_visible()
    assert window.wrong() == []


# The cursor


def test_the_pointer_frames_what_a_cell_sees(explorer: Visit) -> None:
    cells, row, column = explorer.page.locator(".cells").nth(6), 2, 3
    box = cells.bounding_box()
    assert box
    cells.hover(position={"x": (column + 0.5) / 8 * box["width"], "y": (row + 0.5) / 8 * box["height"]})
    top, left = (FIELD["start"] + FIELD["stride"] * n for n in (row, column))
    said = f"{CLASSES[6]}, row 3, column 4: {written([MAPS[0, 6, row, column]])[0]}."
    assert explorer.texts(".picture p")[0].startswith(said)
    spans = f"pixel rows −3 to {top + FIELD['size'] - 1} and columns {left} to {left + FIELD['size'] - 1}"
    assert spans in explorer.texts(".picture p")[0]
    frame, seen = (explorer.page.locator(name).bounding_box() for name in (".frame", ".seen"))
    assert frame
    assert seen
    pixel = frame["width"] / 32
    found = [(seen["x"] - frame["x"]) / pixel, (seen["y"] - frame["y"]) / pixel, seen["width"] / pixel]
    assert found == pytest.approx([left, top, FIELD["size"]], abs=0.1)


def test_keys_take_the_cursor_over_cells_and_from_map_to_map(explorer: Visit) -> None:
    predicted = MADE["images"][0]["predicted"]
    first = explorer.page.locator(".cells[tabindex='0']")
    assert first.count() == 1
    first.focus()
    row, column = peak(MAPS[0, predicted])
    assert explorer.texts(".picture p")[0].startswith(f"{CLASSES[predicted]}, row {row}, column {column}:")
    scrolled = explorer.page.evaluate("scrollY")
    for _ in range(8):
        explorer.page.keyboard.press("ArrowLeft")
        explorer.page.keyboard.press("ArrowUp")
    assert explorer.status().startswith(f"{CLASSES[predicted]}, row 1, column 1:")
    for key, name, place in (("ArrowDown", predicted, 2), ("Home", 0, 2), ("PageDown", 1, 2), ("End", 9, 2)):
        explorer.page.keyboard.press(key)
        assert explorer.status().startswith(f"{CLASSES[name]}, row {place}, column 1:")
        assert CLASSES[name] in (focused(explorer).get_attribute("aria-label") or "")
    assert explorer.page.evaluate("[scrollY, window.heard]") == [scrolled, 0]


def test_everything_is_reached_with_the_tab_key(explorer: Visit) -> None:
    stops = []
    for _ in range(10):
        explorer.page.keyboard.press("Tab")
        stops.append(explorer.page.evaluate("document.activeElement.role ?? document.activeElement.type ?? 'summary'"))
    choice = ["tab", "select-one", "select-one", "number", "submit", "option"]
    assert stops == [*choice, "radio", "range", "application", "summary"]


# Names


def test_hostile_names_are_shown_as_text(window: Visit, tmp_path: Path) -> None:
    harm = "window.harmed = 1"
    names = [f"<img src=x onerror='{harm}'>", f"</script><script>{harm}</script>", "<!--", *CLASSES[3:]]
    made = payload(names, title="</script><b>title</b>")
    made["images"][0]["name"] = "<svg onload='window.harmed = 1'>.png"
    window.open(alone(tmp_path, made))
    assert window.texts(".map b") == names
    assert "</script><b>title</b>" in window.texts(".niny-explorer > p")[0]
    assert "<svg onload" in window.texts(".picture figcaption")[0]
    assert window.page.evaluate("window.harmed === undefined")
    assert window.wrong() == []


# A running network


def answer(seen: Visit, message: dict[str, Any]) -> None:
    seen.page.evaluate("(message) => window.answer(message, [])", message)


def test_any_test_image_is_asked_of_the_network_and_shown(live: Visit) -> None:
    live.page.get_by_label("Number of any test image").fill("4711")
    live.page.keyboard.press("Enter")
    assert live.page.evaluate("window.sent") == [{"type": "index", "index": 4711}]
    assert "Asking" in live.status()
    said = {**MADE["images"][2], "index": 4711, "label": None}
    found = [{"name": "saliency", "map": pack(MAPS[2, 0])}]
    answer(live, {"type": "image", "image": said, "maps": pack(MAPS[5]), "attributions": found})
    assert live.status().startswith("Test image 4711: seen as ")
    np.testing.assert_allclose([float(n) for n in shown(live)], MAPS[5].mean((1, 2)), atol=6e-3)
    assert live.page.locator("[role=option]").count() == IMAGES + 1
    live.page.get_by_role("combobox", name="Images").select_option("mistaken")
    assert live.page.locator("[role=option]").count() == IMAGES // 2  # without a label nothing is a mistake
    live.page.get_by_role("combobox", name="Images").select_option("all")
    live.page.locator("[role=option]").last.click()
    live.page.get_by_role("tab", name="Attribution").click()
    assert live.texts(".map b")[1:] == ["Saliency"]
    live.page.get_by_label("Number of any test image").fill("4711")
    live.page.keyboard.press("Enter")
    assert len(live.page.evaluate("window.sent")) == 1


def test_an_error_of_the_network_is_read_out_and_changes_nothing(live: Visit) -> None:
    before = shown(live)
    answer(live, {"type": "error", "text": "no test image 77777: <b>they</b> are numbered from 0 to 9999"})
    assert live.status() == "no test image 77777: <b>they</b> are numbered from 0 to 9999"
    assert shown(live) == before


def test_an_image_file_is_chosen_or_dropped(live: Visit) -> None:
    chooser = live.page.get_by_label("Your own image")
    chooser.set_input_files({"name": "cat.png", "mimeType": "image/png", "buffer": b"not really"})
    live.page.wait_for_function("window.sent.length === 1")
    drop(live, "new File(['dropped'], 'dog.png')")
    live.page.wait_for_function("window.sent.length === 2")
    sent = live.page.evaluate("window.sent")
    assert [(one["type"], one["name"]) for one in sent] == [("file", "cat.png"), ("file", "dog.png")]
    assert [base64.b64decode(one["data"]) for one in sent] == [b"not really", b"dropped"]


def test_what_cannot_be_sent_is_refused_in_one_line(live: Visit) -> None:
    drop(live, "new File([new ArrayBuffer(7 * 2 ** 20 + 1)], 'large.png')")
    assert live.status() == "large.png has more than 7 MiB: shrink it first."
    drop(live, "'only text'")
    assert live.status() == "That was no file: drop an image file, or choose one."
    assert live.page.evaluate("window.sent") == []


def drop(window: Visit, what: str) -> None:
    """Drop a file, or text, onto the stage."""
    kind = "" if "File" in what else ", 'text/plain'"
    script = f"""() => {{
        const dataTransfer = new DataTransfer();
        dataTransfer.items.add({what}{kind});
        const event = new DragEvent("drop", {{ dataTransfer, bubbles: true, cancelable: true }});
        document.querySelector(".stage").dispatchEvent(event);
    }}"""
    window.page.evaluate(script)


def test_a_page_without_a_network_offers_no_files(explorer: Visit) -> None:
    assert explorer.page.locator("input[type=file]").count() == 0


# The report around it


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with two reports: `full` has all that a report can have, `trial` no figures and no explorer."""
    root = project(tmp_path_factory.mktemp("report") / "project")
    for scale in ("full", "trial"):
        for seed in range(3):
            plant_run(root, PARAMS.run(scale, "cifar10-nin"), seed, 10.2 + seed / 10)
    write_tables(PARAMS, "full", root)
    write_figures(PARAMS, "full", root)
    plant(root, "full", MADE)
    for scale in ("full", "trial"):
        write_report(PARAMS, scale, root)
    return root


@pytest.mark.parametrize("scale", ["full", "trial"])
def test_the_report_needs_nothing_but_itself(window: Visit, root: Path, scale: str) -> None:
    path = root / "results" / scale / "report.html"
    window.open(path)
    assert window.page.locator(".map canvas").count() == (len(CLASSES) if scale == "full" else 0)
    for look in itertools.product((DESK, PHONE), ("light", "dark")):
        appear(window, *look)
        for tab in window.page.get_by_role("tab").all():
            tab.click()
            assert window.wrong() == [], look
        assert window.wrong() == [], look
    appear(window, DESK, "light")
    assert path.stat().st_size < 6_000_000


@pytest.mark.parametrize("path", sorted((ROOT / "results").glob("*/report.html")), ids=lambda path: path.parent.name)
def test_kept_reports_need_nothing_but_themselves(window: Visit, path: Path) -> None:
    window.open(path)
    for look in itertools.product((DESK, PHONE), ("light", "dark")):
        appear(window, *look)
        assert window.wrong() == [], look
    appear(window, DESK, "light")
    assert path.stat().st_size < 6_000_000


def test_folded_tables_are_printed(window: Visit, root: Path) -> None:
    window.open(root / "results/full/report.html").page.emulate_media(media="print")
    folded = window.page.locator("details table")
    assert folded.count()
    assert all(one.is_visible() for one in folded.all())
    window.page.emulate_media(media="screen")


def appear(window: Visit, size: "ViewportSize", scheme: Any) -> None:
    window.page.set_viewport_size(size)
    window.page.emulate_media(color_scheme=scheme)


def test_the_report_says_how_an_explorer_is_made_where_there_is_none(root: Path) -> None:
    folder = root / "results"
    said = "run `dvc repro explorer@trial-cifar10-nin`"
    assert said in (folder / "trial/README.md").read_text()
    assert "<script" not in (folder / "trial/report.html").read_text()
    assert "[open it in the page](report.html#explorer)" in (folder / "full/README.md").read_text()


def test_the_report_prints_the_first_image(window: Visit, root: Path) -> None:
    window.open(root / "results/full/report.html").page.emulate_media(media="print")
    assert shown(window) == written(MADE["images"][0]["logits"])
    assert not any(one.is_visible() for one in window.page.locator("[role=tablist], .thumbnails, .controls").all())
    window.page.emulate_media(media="screen")


def test_the_report_reads_without_scripts(browser: "Browser", root: Path) -> None:
    with visits(browser, java_script_enabled=False) as window:
        window.open(root / "results/full/report.html")
        assert "with JavaScript, which is off" in window.texts("#explorer-place")[0]


@pytest.mark.parametrize("text", ["{", "[]", '{"version": 2, "images": [1]}', '{"version": 1, "images": []}'])
def test_a_damaged_payload_is_named(root: Path, tmp_path: Path, text: str) -> None:
    copy = project(tmp_path / "project")
    path = plant(copy, "full", MADE)
    path.write_text(text)
    with pytest.raises(NinyError, match=re.escape(str(path))):
        write_report(PARAMS, "full", copy)
