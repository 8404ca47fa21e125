"""What the experiments of a scale are trained on and how, from params.yaml: a table of data sets, one of recipes."""

import pandas as pd

from niny.config import Recipe, Run
from niny.data.sets import ORIGINS
from niny.report.cards import PREPROCESSING
from niny.report.study import Study, data_name
from niny.report.words import distinct


def data_table(study: Study) -> pd.DataFrame:
    """A row for each data set of the scale; how many images were used is known from the runs alone."""
    runs = [study.run(experiment.name) for experiment in study.experiments]
    return pd.DataFrame([_data_row(study, name, runs) for name in dict.fromkeys(run.data.name for run in runs)])


def _data_row(study: Study, name: str, runs: list[Run]) -> dict[str, str]:
    here = [run for run in runs if run.data.name == name]
    recorded = study.runs[study.runs["experiment"].isin([run.experiment.name for run in here])]
    spec, (source, licence) = here[0].data, ORIGINS[name]
    return {
        "Data set": data_name(name),
        "Classes": str(spec.classes),
        "Pixels": f"{spec.size} x {spec.size} x {spec.channels}",
        "Training images": _counted(recorded),
        "Test images": distinct(f"{n:,}" for n in recorded["test_images"]),
        "Preprocessing": PREPROCESSING[spec.preprocessing].format(spec=spec),
        "Source": source,
        "Licence": licence,
    }


def _counted(runs: pd.DataFrame) -> str:
    """How many images training took; experiments that took fewer than the most are named."""
    most = runs["train_images"].max()
    fewer = runs[runs["train_images"] < most].drop_duplicates("experiment")
    told = [f"{n:,} in {name}" for n, name in zip(fewer["train_images"], fewer["experiment"], strict=True)]
    return "; ".join([f"{most:,}", *told]) if len(runs) else distinct(())


def recipes_table(study: Study) -> pd.DataFrame:
    """A column for each recipe as it is used at this scale, a row for each setting."""
    columns: dict[str, Recipe] = {}
    users: dict[str, list[str]] = {}
    for experiment in study.experiments:
        name, recipe = study.scale.recipe or experiment.recipe, study.run(experiment.name).recipe
        if (usual := columns.setdefault(name, recipe)) != recipe:  # an experiment may set a part of it for itself
            own = [f"{what} {value}" for what, value in _settings(recipe).items() if value != _settings(usual)[what]]
            name = ", ".join([name, *own])
            columns[name] = recipe
        users.setdefault(name, []).append(experiment.name)
    cells = {name: {"experiments": ", ".join(users[name])} | _settings(recipe) for name, recipe in columns.items()}
    return pd.DataFrame(cells).rename_axis("Setting").reset_index()


def _initial(recipe: Recipe) -> str:
    if recipe.init != "normal":
        return recipe.init
    return ", ".join((f"normal, {recipe.init_std:g}", *(f"{layer} {std:g}" for layer, std in recipe.init_std_of)))


def _settings(recipe: Recipe) -> dict[str, str]:
    return {
        "initial weights": _initial(recipe),
        "learning rate": f"{recipe.lr:g}",
        "phases": ", ".join(f"{epochs} epochs x {factor:g}" for epochs, factor in recipe.phases),
        "schedule": recipe.schedule.replace("_", " "),
        "warm-up, epochs": f"{recipe.warmup_epochs:g}",
        "factor on the last layer's rate": f"{recipe.last_layer_lr:g}",
        "factor on the rate of biases": f"{recipe.bias_lr:g}",
        "momentum": f"{recipe.momentum:g}",
        "weight decay": f"{recipe.weight_decay:g}",
        "batch": str(recipe.batch),
        "order of the images": recipe.order,
        "dropout rescales in training": "yes" if recipe.inverted_dropout else "no",
        "label smoothing": f"{recipe.label_smoothing:g}",
        "loss": recipe.loss.replace("_", " "),
    }
