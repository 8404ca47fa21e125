"""Texts of params.yaml and records in Markdown, shown as they are: no markup, HTML, link or formula."""

import re

MARKUP = re.compile(r"([\\`*_\[\]|$~])")
LINK = r"\[[\w./ -]+\]\([\w-]+/[\w./-]+\)"  # to a file of the report's folder, nowhere else
KEPT = re.compile(rf"(`[^`\n]+`|{LINK})")


def plain(text: str) -> str:
    """Text without any meaning to a forge; `code` between backticks and links to the report's files keep theirs."""
    return "".join(_kept(part) if i % 2 else _escaped(part) for i, part in enumerate(KEPT.split(text)))


def _kept(part: str) -> str:
    return code(part[1:-1]) if part.startswith("`") else part


def _escaped(text: str) -> str:
    return MARKUP.sub(r"\\\1", text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;"))


def code(text: str) -> str:
    """Code within a line, or a cell, whatever backticks are in it."""
    fence = "`" * (1 + max(map(len, re.findall("`+", text)), default=0))
    space = " " if text.startswith("`") or text.endswith("`") else ""
    return f"{fence}{space}{text}{space}{fence}".replace("|", "\\|")
