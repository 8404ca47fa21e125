"""The report's section on class maps: figure 4 again, the questions and their answers, all networks on one scale."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pandas as pd

from niny.maps import nested
from niny.maps.boxes import LEFT_OUT
from niny.maps.pictures import MOST
from niny.maps.records import is_null
from niny.maps.scores import SURE
from niny.report.drawing import Picture
from niny.report.dynamics import dynamics_picture, followed, while_learning
from niny.report.elsewhere import elsewhere, elsewhere_table
from niny.report.foreign import (
    AUTHORS,
    FOLDER,
    authors_study,
    foreign_record,
    foreign_table,
    made_at,
    permuted_told,
    sampling,
)
from niny.report.heads import head_nulls_table, heads_in_short, heads_table
from niny.report.parts import Image, Section, Table, image, origin, table
from niny.report.published import published_table
from niny.report.questions import (
    NULLS,
    QUESTIONS,
    RULE,
    amount,
    fair,
    has_connected_maps,
    in_short,
    no_permuted,
    questions_table,
    short,
    twin_of,
)
from niny.report.readings import (
    AGREEMENT,
    agreement_nulls,
    agreement_table,
    cascade_table,
    reading_nulls_table,
    readings_table,
)
from niny.report.scores import scores_picture
from niny.report.study import REFERENCE, Study, data_name
from niny.report.tables import boxes_table
from niny.report.words import NONE, between, listed, plural, through

READ = (
    "Of each class's map: as it is (raw), less the mean of all classes' (centred), less the best other class (margin), "
    "as a probability among the classes (softmax; by its log odds where cells are ranked, traced back or held against "
    "the logit). That a map's mean is its logit, marked by a dash in the other readings, is said of the raw map alone. "
    "Below a value, in small type: its 95 % interval. What n counts is images, grids or canvases, below it the runs "
    "where they are fewer than finished."
)
NULLS_READ = (
    "What the same scores give for maps that know less, in the same reading. That of permuted labels is another "
    "network: where a score asks what a map knows of classes and places it is a null as the others; where it asks "
    "whether a map is true to its network (insertion, deletion, infidelity, equivariance, agreement) it tells how far "
    "that depends on what was learnt. It has none for images chosen by what a network says of them."
)


def class_maps(study: Study) -> Section:
    words = [
        "With global average pooling the last layer makes one map a class, and the mean of a map is the score of its "
        "class. The paper shows twenty images of its choice and reads two sentences off them: the largest activations "
        "lie in the map of the true class, and where the object is. Both are asked here of images that nobody chose."
    ]
    missing = [name for name in mapped(study)[1:] if not (study.folder / map_image(study, name).file).is_file()]
    items: list[Table | Image] = [map_image(study, name) for name in mapped(study) if name not in missing]
    if scored(study):
        words.append(
            "Maps of objects in the middle of images are easily praised: a blob at the centre does well too. So every "
            "score stands beside its nulls, what the same score gives for maps that know less: "
            f"{'; '.join(f'{short(null)}, {meaning}' for null, meaning in NULLS.items())}. {RULE}"
        )
        words += [*in_short(study), *heads_in_short(study), *while_learning(study)]
        words += [*one_network(study), *unmeasured(study)]
        items = [
            scores_of_maps(study),
            *readings(study),
            *published(study),
            image(study, scores_picture(study), scored(study)),
            *heads(study),
            *agreement(study),
            *randomised(study),
            *other_data(study),
            *items,
        ]
        items += [image(study, dynamics_picture(study), followed(study))] if followed(study) else []
        items += boxes(study)
    else:
        words.append("No scores of class maps are recorded at this scale.")
    if missing:
        few = listed([f"`{name}`" for name in missing]) if len(missing) < 4 else plural(len(missing), "other network")
        words.append(f"No class maps are drawn yet of {few}.")
    compared = attributions(study)
    items += [*compared.values()][:1]
    linked = [f"[{name}]({of.file})" for name, of in compared.items()][1:]
    if linked:  # one says what they look like; all of them would make the page twice as large
        words.append(
            f"Other attributions beside the maps of the other networks are pictures of their own: {listed(linked)}."
        )
    return Section("maps", "What the class maps say", tuple(words), tuple(items))


def scored(study: Study) -> list[str]:
    return [e.name for e in study.experiments if study.result(e.name).maps]


def one_network(study: Study) -> list[str]:
    """A caution where intervals are over images alone."""
    names = scored(study)
    alone = [n for n in names if max(len(score.seeds) for score in study.result(n).maps.values()) < 2]
    which = "each experiment" if len(alone) == len(names) else f"each of {len(alone)} of {len(names)} experiments"
    told = f"One network of {which} was scored: there, intervals are over images and speak of that network alone."
    return [told] * bool(alone)


def unmeasured(study: Study) -> list[str]:
    """Which tables are missing, because the reference's maps were not asked."""
    asked = {
        "every kind of score": [readings_table(study)],
        "agreement with other attributions": [agreement_table(study, metric) for metric in AGREEMENT],
        "what is left of them as layers lose their weights": [cascade_table(study)],
    }
    missing = [what for what, frames in asked.items() if all(frame.empty for frame in frames)]
    return [f"Not measured of the maps of `{REFERENCE}`: {listed(missing)}."] * bool(missing)


def scores_of_maps(study: Study) -> Table:
    """A row for each question, with its score and interval under it."""
    frame = questions_table(study)
    names = [*dict.fromkeys(frame["Network"])]
    count = len({score for name in scored(study) for score in study.result(name).maps if not is_null(score)})
    note = (
        f"Of `{REFERENCE}`, where no other network is named. Of every network, all that was asked of it, in {count} "
        "scores by class, subset and kind of canvas: "
        f"[tables/map-scores.csv](tables/map-scores.csv). {nested.RULE} Maps are made in bfloat16 where a machine "
        "computes in it, test errors in float32: a few images may be right in one and wrong in the other."
    )
    if why := no_permuted(study, REFERENCE):
        note += f" The null of permuted labels is missing: {why}."
    elif twin := twin_of(study, REFERENCE):
        run = study.run(twin)
        same = replace(run.recipe, phases=study.run(REFERENCE).recipe.phases) == study.run(REFERENCE).recipe
        note += (
            f" The network of permuted labels differs in more than these: it is {run.experiment.title}, trained for "
            f"{run.recipe.epochs} epochs{'' if same else ' by a recipe of its own'} (`{twin}`)."
        )
    return table(study, "Questions to the class maps", narrow(frame), "map-questions", names, note)


def narrow(frame: pd.DataFrame) -> pd.DataFrame:
    """Questions and what was found, as wide as a page: score and network under the question, interval under value."""
    interval = frame["95 % interval"]
    value = frame["Value"] + ("\n" + interval).where(interval != NONE, "")
    counted = frame["n"].str.replace(" ", "\n", n=1).str.replace(", ", "\n")
    of = ("\nof " + frame["Network"]).where(frame["Network"] != REFERENCE, "") if "Network" in frame else ""
    shown = frame.assign(Question=frame["Question"] + "\n" + frame["Score"] + of, Value=value, n=counted)
    return shown.drop(columns=["Score", "95 % interval", "Network"], errors="ignore")


def under(frame: pd.DataFrame) -> pd.DataFrame:
    """Readings as wide as a page: an interval under its value."""
    return frame.replace(r"^(\S+) \((.+ to .+)\)$", r"\1\n\2", regex=True)


def other_data(study: Study) -> list[Table]:
    """The questions to networks of other data; folded where there are several."""
    names = elsewhere(study)
    titles = {name: f"The questions to {name}, of {data_name(study.run(name).data.name)}" for name in names}
    return [
        table(
            study,
            title,
            narrow(elsewhere_table(study, name)),
            f"questions-{name}",
            [name],
            "" if twin_of(study, name) else "No network learns permuted labels of these data: that null is missing.",
            folded=len(names) > 1,
        )
        for name, title in titles.items()
    ]


def readings(study: Study) -> list[Table]:
    """All kinds of scores of the reference's maps, reading by reading."""
    frame = readings_table(study)
    note = (
        f"{READ} Under softmax cross-entropy what all maps share is left open, and only raw depends on it. Under "
        "MaxBoxAccV2 a map of one value (uniform) gives the box around the whole image: see how far that comes before "
        "reading the others. Agreement with other attributions, and with maps whose weights were drawn anew, have "
        "tables of their own."
    )
    title = f"Every kind of score of the maps of {REFERENCE}, in four readings"
    if not len(frame):
        return []
    shown = table(study, title, under(frame), "map-readings", [REFERENCE], note)
    return [shown, *nulls_of_readings(study, f"of {REFERENCE}", reading_nulls_table(study), "map-nulls")]


def nulls_of_readings(study: Study, whose: str, frame: pd.DataFrame, file: str) -> list[Table]:
    """The nulls beside a table of readings, where there are any."""
    title = f"The nulls of every kind of score of the maps {whose}"
    return [table(study, title, frame, file, [REFERENCE], NULLS_READ, folded=True)] if len(frame) else []


def published(study: Study) -> list[Table]:
    """What others published of the grid pointing game, beside what was measured here."""
    frame = published_table(study)
    note = (
        "Mass in the right cell of 3x3 grids: the median over their cells, of images that a network is sure of. The "
        "published medians are computed from the result files of Böhle, Fritz and Schiele (2021, CoDA-Nets, network "
        "9L-S-CoDA-SQ): another network, trained with another loss, binary cross-entropy. They stand beside ours, not "
        f"against them. Ours are of images with their class at a probability of {SURE} or more, where n counts the "
        "grids that hold any, and beside them of all images. Below a median, in small type, its 95 % interval."
    )
    if not len(frame):
        return []
    shown = table(study, "Grid pointing game beside published medians", frame, "map-published", [REFERENCE], note)
    theirs = f"; of the {AUTHORS} in `results/{FOLDER}`, {made_at(study)}" if foreign_record(study) else ""
    return [replace(shown, origin=shown.origin + theirs)]


def agreement(study: Study) -> list[Table]:
    """Other attributions beside the reference's class maps, in numbers."""
    kinds = (
        ("agreement_rank", "map-agreement", "", "Spearman's rank correlation over the cells of an image"),
        (
            "agreement_top",
            "map-agreement-top",
            ": largest tenth",
            "Share of the largest tenth of cells in common",
        ),
    )
    tables = []
    for metric, file, of, what in kinds:
        note = (
            f"{what}, for the predicted class. A map in a reading stands beside attributions of the logit in the same "
            "reading (less the mean of all logits, less the best other, log odds). Below each, in small type: its 95 % "
            "interval, and its nulls. Agreement about this image is what goes beyond another image's map and the "
            "centre; how far a network of permuted labels agrees with itself tells of the method, not of what was "
            "learnt. With itself the class map agrees by definition, and its nulls are what matters."
            f"{blind_told(study, metric)}"
        )
        title = f"Other attributions and the class maps of {REFERENCE}{of}"
        frame = agreement_table(study, metric)
        shown = table(study, title, frame, file, [REFERENCE], note, folded=bool(of))
        tables += [of_those(study, shown, metric)] if len(frame) else []
    return tables


def blind_told(study: Study, metric: str) -> str:
    """The nulls that have no line of their own in each cell: by how much they agree with anything."""
    units = {"agreement_rank": "correlate at {}", "agreement_top": "have {} of the largest tenth in common"}
    found = agreement_nulls(study, metric)
    told = units[metric].format(through(found)) if found else ""
    return f" Noise and the untrained network's maps {told}, over all rows and readings." if told else ""


def randomised(study: Study) -> list[Table]:
    """What is left of the reference's maps as its layers lose what they learnt."""
    frame = cascade_table(study)
    if not len(frame):
        return []
    note = (
        "Spearman's rank correlation, over the cells of an image, of the trained network's map with that of the same "
        "network whose weights were drawn anew from its last layer down to the one named. The nearer to 0 the better: "
        "then maps depend on what was learnt (correlations of either sign may cancel: see the absolute ones below). So "
        "does the row of permuted labels, where the network is another one, which learnt labels of chance by heart. "
        "Below each, in small type: its 95 % interval, and its null: another image's map under the same weights."
    )
    sizes = (
        "A pattern that survives may come back with either sign, and then signed correlations of many images cancel: "
        "this is the mean of their absolute values. Those of chance are above 0: the last rows show how far."
    )
    title = f"The maps of {REFERENCE} as its layers lose their weights"
    absolute, file = cascade_table(study, ".absolute"), "map-cascade-absolute"
    shown = [
        table(study, title, frame, "map-cascade", [REFERENCE], note),
        table(study, f"{title}: absolute correlation", absolute, file, [REFERENCE], sizes, folded=True),
    ]
    return [of_those(study, one, "cascade") for one in shown]


def of_those(study: Study, shown: Table, metric: str) -> Table:
    """A table of scores of the reference that not all of its networks were asked for: the runs that were."""
    maps = study.result(REFERENCE).maps
    seeds = {seed for name, score in maps.items() if name.startswith(metric) for seed in score.seeds}
    return replace(shown, origin=origin(study, [REFERENCE], seeds))


def boxes(study: Study) -> list[Table]:
    """Which photographs with boxes show what the networks know, where networks were asked about them."""
    asked = [name for name in scored(study) if any(score.startswith("box_") for score in study.result(name).maps)]
    without = "; ".join(f"{what} ({why})" for what, why in LEFT_OUT.items())
    note = (
        f"Not taken: {without}. Aeroplanes, deer and horses are not among Tiny-ImageNet's classes. A cell of a map is "
        "laid on the pixels at its place, as is usual; what it sees has its middle a little further down and to the "
        "right, so that scores of places ask a little more of maps than of a blob at the centre."
    )
    shown = table(study, "Photographs with boxes", boxes_table(), "box-classes", asked, note, folded=True)
    return [shown] if asked else []


def authors_network(study: Study) -> tuple[Section, ...]:
    """The same questions to the network that the authors published, where its scores are kept."""
    record = foreign_record(study)
    if record is None:
        return ()
    words = (
        f"What the network's authors published for Caffe errs here on {record['test_error']:.2f} % of the test images "
        f"(sampling error of the test set: {between(sampling(record))}): a network of the paper's kind and accuracy "
        "that nobody here trained. Its second pooling averages, where the paper says that it takes the largest. These "
        "are the same questions to its maps, on the same test images, and as many as "
        f"{record['grids']} grids of each kind. It is one network: intervals are over images. {permuted_told(study)}"
        f"{took(record)}",
    )
    weights = f"`{record['weights']}`, SHA-256 {record['sha256'][:12]}"
    made = f"1 run in `results/{FOLDER}`: {weights}, {made_at(study)}"
    shown = table(study, "The questions to the authors' own network", narrow(foreign_table(study)), "authors")
    items = tuple(replace(item, origin=made) for item in (shown, *authors_readings(study)))
    return (Section("authors", "The authors' own network", words, items, level=3),)


def took(record: Mapping[str, Any]) -> str:
    if "seconds" not in record:
        return ""
    return f" All scores but those of other attributions took {record['seconds']:.0f} s on {record['threads']} threads."


def authors_readings(study: Study) -> list[Table]:
    """All kinds of scores of their network's maps, as those of the reference."""
    theirs = authors_study(study)
    frame = readings_table(theirs)
    note = (
        f"{READ} All scores, by class, subset and kind of canvas, are in "
        f"[tables/map-scores.csv](tables/map-scores.csv) under `{AUTHORS}`."
    )
    title = "Every kind of score of the maps of the authors' own network, in four readings"
    if not len(frame):
        return []
    shown = table(study, title, under(frame), "authors-readings", [], note, folded=True)
    whose = "of the authors' own network"
    return [shown, *nulls_of_readings(study, whose, reading_nulls_table(theirs), "authors-nulls")]


def heads(study: Study) -> list[Table]:
    """What other heads and ways of training do to the maps, where there are any beside the reference."""
    frame = heads_table(study)
    if not len(frame):
        return []
    note = (
        "Below each network, in small type: its test error and runs (n). Below each score: whether it lies above or "
        f"below that of `{REFERENCE}`, by the rule above. "
        "All are of maps less their mean over the classes, because raw maps of two networks may differ in what all "
        "their maps share. A fully connected head, and a locally connected layer, read what comes before them in tiles "
        "of the training size where a canvas is larger, each as if it stood alone. With one run (n) on either side two "
        "networks are compared, not two ways of training: runs of one experiment lie apart too. "
        'A score of fewer runs than its row\'s n says so below it. "Other cells": its maps have other cells than the '
        "reference's, so that correlations over cells do not compare. The other readings are in "
        "[tables/map-scores.csv](tables/map-scores.csv)."
    )
    title, names = "Other heads and ways of training", [*frame["Network"]]
    nulls = head_nulls_table(study)
    error = frame["Test error %"].str.replace(r"(\d)$", r"\1 %", regex=True)
    told = frame["Network"] + "\n" + error + ", n = " + frame["n"]
    shown = frame.assign(Network=told).drop(columns=["Test error %", "n"])
    return [
        table(study, title, shown, "map-heads", names, note),
        table(study, f"{title}: the nulls", nulls, "map-heads-nulls", names, NULLS_READ, folded=True),
    ]


def mapped(study: Study) -> list[str]:
    """Experiments whose maps should be here."""
    return [e.name for e in study.experiments if e.has_maps_of_its_own]


def map_image(study: Study, experiment: str) -> Image:
    figure_4 = "Figure 4: class maps" if experiment == REFERENCE else "Class maps"
    made = " They are what its fully connected layer makes of each cell."
    head = made if has_connected_maps(study, experiment) else ""
    few = study.run(experiment).data.classes > MOST
    which = f"each of {MOST} classes" if few else "each class"
    picture = Picture(
        f"maps-{experiment}",
        f"{figure_4} of {experiment}",
        f"One test image of {which}, drawn by chance, and beside it the maps of {'these' if few else 'all'} classes: "
        f"the largest tenth of an image's cells, as in the paper's figure 4.{head} The true class's map is framed; a "
        f"bar marks the prediction{', where it is among them' if few else ''}.",
        f"Test images, each with the class maps that {experiment} makes of it. {map_words(study, experiment)}".strip(),
    )
    command = f"dvc repro maps@{study.scale.name}-{experiment}"
    return Image(picture, f"figures/{picture.name}.png", command, origin(study, [experiment]))


def map_words(study: Study, experiment: str) -> str:
    """What the picture's maps are like over all test images."""
    asked = QUESTIONS[0]
    connected = has_connected_maps(study, experiment)
    score = study.result(experiment).maps.get(fair(asked.score) if connected else asked.score)
    reading = ", taken less the mean of all classes'" if connected else ""
    return "" if score is None else f"{asked.says.format(value=amount(score.value, asked.unit))}{reading}."


def attributions(study: Study) -> dict[str, Image]:
    """Pictures of other attributions beside class maps that have been drawn, by experiment, the reference's first."""
    names = sorted((e.name for e in study.experiments), key=REFERENCE.__ne__)
    every = {name: attribution_image(study, name) for name in names}
    return {name: of for name, of in every.items() if (study.folder / of.file).is_file()}


def attribution_image(study: Study, experiment: str) -> Image:
    made = " The class map is what its fully connected layer makes of each cell."
    head = made if has_connected_maps(study, experiment) else ""
    picture = Picture(
        f"attribution-{experiment}",
        f"Other attributions beside the class maps of {experiment}",
        "For the predicted class of the same images. Each square has a colour scale of its own around 0 (orange "
        f"above, purple below): places can be compared between squares, sizes cannot.{head}",
        f"Test images, the class map that {experiment} makes of each, and what other attribution methods give.",
    )
    command = f"dvc repro attribution@{study.scale.name}-{experiment}"
    return Image(picture, f"figures/{picture.name}.png", command, origin(study, [experiment]))
