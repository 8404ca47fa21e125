"""Tables, figures and the report of one scale, generated from run records alone."""

from niny.report.figures import write_figures
from niny.report.page import write_report
from niny.report.readmes import write_readmes
from niny.report.rescience import write_rescience
from niny.report.tables import summary, write_tables

__all__ = ["summary", "write_figures", "write_readmes", "write_report", "write_rescience", "write_tables"]
