"""The report's section on class maps: figure 4 again, the questions and their answers, all networks on one scale."""

from dataclasses import replace

import pandas as pd

from niny.maps import nested
from niny.maps.boxes import LEFT_OUT
from niny.maps.pictures import MOST
from niny.maps.records import is_null
from niny.report.drawing import Picture
from niny.report.dynamics import dynamics_picture, followed
from niny.report.elsewhere import elsewhere, elsewhere_table
from niny.report.foreign import FOLDER, foreign_record, foreign_table, made_at, sampling
from niny.report.heads import heads_table
from niny.report.parts import Image, Section, Table, image, origin, table
from niny.report.questions import (
    NULLS,
    QUESTIONS,
    RULE,
    amount,
    fair,
    has_connected_maps,
    no_permuted,
    questions_table,
    short,
)
from niny.report.readings import agreement_table, readings_table
from niny.report.scores import scores_picture
from niny.report.study import REFERENCE, Study, data_name
from niny.report.tables import boxes_table
from niny.report.words import NONE, between, listed, plural


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
        words += one_network(study)
        items = [
            scores_of_maps(study),
            *readings(study),
            image(study, scores_picture(study), scored(study)),
            *heads(study),
            *agreement(study),
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
    which = "each experiment" if len(alone) == len(names) else f"{len(alone)} of {plural(len(names), 'experiment')}"
    return [f"One network of {which} was scored: its intervals are over images and speak of it alone."] * bool(alone)


def scores_of_maps(study: Study) -> Table:
    """A row for each question, with its score and interval under it."""
    frame = questions_table(study)
    names = [*dict.fromkeys(frame["Network"])]
    count = len({score for name in scored(study) for score in study.result(name).maps if not is_null(score)})
    note = f"All {count} scores, by class, subset and kind of canvas: [tables/map-scores.csv](tables/map-scores.csv). "
    note += nested.RULE
    if why := no_permuted(study, REFERENCE):
        note += f" The null of permuted labels is missing: {why}."
    return table(study, "Questions to the class maps", narrow(frame), "map-questions", names, note)


def narrow(frame: pd.DataFrame) -> pd.DataFrame:
    """Questions and what was found, as wide as a page: a score under its question, an interval under its value."""
    interval = frame["95 % interval"]
    value = frame["Value"] + ("\n" + interval).where(interval != NONE, "")
    counted = frame["n"].str.replace(" ", "\n", n=1)
    shown = frame.assign(Question=frame["Question"] + "\n" + frame["Score"], Value=value, n=counted)
    return shown.drop(columns=["Score", "95 % interval"])


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
            folded=len(names) > 1,
        )
        for name, title in titles.items()
    ]


def readings(study: Study) -> list[Table]:
    """All kinds of scores of the reference's maps, reading by reading."""
    frame = readings_table(study)
    note = (
        "Of each class's map: as it is (raw), less the mean of all classes' (centred), less the best other class "
        "(margin), as a probability among the classes (softmax). Under softmax cross-entropy what all maps share is "
        "left open, and only raw depends on it. Under MaxBoxAccV2 a map of one value (uniform) gives the box around "
        "the whole image: see how far that comes before reading the others. Beside a median stand its nulls' means."
    )
    title = f"Every kind of score of the maps of {REFERENCE}, in four readings"
    return [table(study, title, frame, "map-readings", [REFERENCE], note)] if len(frame) else []


def agreement(study: Study) -> list[Table]:
    """Other attributions beside the reference's class maps, in numbers."""
    frame = agreement_table(study)
    note = (
        "Spearman's rank correlation over the cells of an image, for the predicted class. Agreement about this image "
        "is what goes beyond another image's map and the centre; the nulls are those of the maps less their mean."
    )
    title = f"Other attributions and the class maps of {REFERENCE}"
    return [table(study, title, frame, "map-agreement", [REFERENCE], note)] if len(frame) else []


def boxes(study: Study) -> list[Table]:
    """Which photographs with boxes show what the networks know, where networks were asked about them."""
    asked = [name for name in scored(study) if any(score.startswith("box_") for score in study.result(name).maps)]
    without = "; ".join(f"{what} ({why})" for what, why in LEFT_OUT.items())
    note = f"Not taken: {without}. Aeroplanes, deer and horses are not among Tiny-ImageNet's classes."
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
        f"{record['grids']} grids of each kind. It is one network: intervals are over images. The null of permuted "
        "labels is missing: its authors published no network that learnt such.",
    )
    weights = f"`{record['weights']}`, SHA-256 {record['sha256'][:12]}"
    made = f"1 run in `results/{FOLDER}`: {weights}, {made_at(study)}"
    shown = table(study, "The questions to the authors' own network", narrow(foreign_table(study)), "authors")
    return (Section("authors", "The authors' own network", words, (replace(shown, origin=made),), level=3),)


def heads(study: Study) -> list[Table]:
    """What other heads and ways of training do to the maps, where there are any beside the reference."""
    frame = heads_table(study)
    if not len(frame):
        return []
    note = (
        f"Below each score, in small: whether it lies above or below that of `{REFERENCE}`, by the rule above. All are "
        "of maps less their mean over the classes, because raw maps of two networks may differ in what all their maps "
        "share. A fully connected head, and a locally connected layer, read what comes before them in tiles of the "
        "training size where a canvas is larger, each as if it stood alone. With one run (n) on either side two "
        "networks are compared, not two ways of training: runs of one experiment lie apart too."
    )
    title = "Other heads and ways of training"
    return [table(study, title, frame, "map-heads", [*frame["Network"]], note)]


def mapped(study: Study) -> list[str]:
    """Experiments whose maps should be here, those with global average pooling, and others that have a picture."""
    folder = study.folder / "figures"
    shown = (e for e in study.experiments if e.has_maps_of_its_own)
    return [e.name for e in shown if e.head == "gap" or (folder / f"maps-{e.name}.png").is_file()]


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
