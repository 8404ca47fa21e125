"""Published medians of the grid pointing game beside ours: another network with another loss, and so no rival."""

import pandas as pd

from niny.evaluation.rules import Score
from niny.maps.charts import PUBLISHED
from niny.maps.views import VIEWS
from niny.report.foreign import AUTHORS, authors_study, foreign_record
from niny.report.questions import fewer
from niny.report.readings import absent, nulls_listed, spread
from niny.report.study import REFERENCE, Study
from niny.report.words import NONE, number

DATA = "cifar10"  # whose test images were in the published grids
THEIRS, THEIR_COUNT = "CoDA-Net, published", "4,500 scores"
SURE_OF, ALL = ".confident", ""  # images that a network is sure of, as the published ones are, and all beside them
COLUMNS = ("Attribution", "Whose network", "Median", "n", "Nulls")


def published_table(study: Study) -> pd.DataFrame:
    """A row for each published median, then for each reading of the reference's maps and of the authors' network's.

    Empty where the reference learns other images, or was not scored.
    """
    if REFERENCE not in study.results or study.run(REFERENCE).data.name != DATA or not study.result(REFERENCE).maps:
        return pd.DataFrame(columns=COLUMNS)
    rows = [(method, THEIRS, number(median), THEIR_COUNT, "not computed") for method, median in PUBLISHED.items()]
    rows += [_row(study, REFERENCE, view, of) for view in VIEWS for of in (SURE_OF, ALL)]
    if foreign_record(study):
        rows += [_row(authors_study(study), AUTHORS, view, of) for view in VIEWS for of in (SURE_OF, ALL)]
    return pd.DataFrame(rows, columns=COLUMNS)


def _row(study: Study, whose: str, view: str, of: str) -> tuple[str, str, str, str, str]:
    scores, name = study.result(REFERENCE).maps, f"gridpg3_mass_median.{view}{of}"
    method = f"class map, {view}" + ("" if of else ", all images")
    if name not in scores:
        return method, whose, absent(scores, name), NONE, NONE
    nulls = nulls_listed(study, REFERENCE, name)
    counted = f"{scores[name].n:,} grids\n{fewer(study, REFERENCE, scores[name])}".strip()
    return method, whose, _median(scores[name]), counted, nulls


def _median(score: Score) -> str:
    return "\n".join(filter(None, (number(score.value), spread(score))))
