"""Tables of results in the documentation: each whole table as a CSV file, and some of its columns on the page."""

import csv
import io
import re
from collections.abc import Sequence
from pathlib import Path

MOST_COLUMNS = 6  # of a table on a page


def cells(table: str) -> list[list[str]]:
    """Returns the cells of a Markdown table by row, headings first; no rows for a text that is no table."""
    rows = [line.removeprefix("|").removesuffix("|") for line in table.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in row.split("|")] for row in rows[:1] + rows[2:]]


def is_wide(table: str) -> bool:
    """Returns whether a Markdown table has more columns than a page shows."""
    return any(len(row) > MOST_COLUMNS for row in cells(table)[:1])


def as_csv(table: str) -> str:
    """Returns a Markdown table as the text of a CSV file, without emphasis."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([cell.strip("*") for cell in row] for row in cells(table))
    return text.getvalue()


def extract(table: str, columns: Sequence[str]) -> str:
    """Returns some columns of a Markdown table, in the order asked for. Raises ValueError for an unknown column."""
    headings, *rows = cells(table)
    places = [headings.index(column) for column in columns]
    lines = [f"| {' | '.join(row[place] for place in places)} |" for row in (headings, *rows)]
    return "\n".join([lines[0], "|---" * len(columns) + "|", *lines[1:]])


def renewed(page: str, name: str, text: str) -> str:
    """Returns a page with the text between the marks `<!-- NAME -->` and `<!-- end -->` replaced."""
    block = f"<!-- {name} -->\n\n{text}\n\n<!-- end -->"
    return re.sub(rf"<!-- {re.escape(name)} -->.*?<!-- end -->", lambda _: block, page, flags=re.DOTALL)


def renew(path: Path, table: str, columns: Sequence[str]) -> None:
    """Renews the only generated table of a page: some columns on the page, all of them in a CSV file of its name."""
    path.write_text(renewed(path.read_text(), "table", extract(table, columns)))
    path.with_suffix(".csv").write_text(as_csv(table))
