"""Files that are replaced all at once."""

import contextlib
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def replacing(path: Path, aside: Path | None = None) -> Iterator[Path]:
    """Gives a path to write to, which then takes the place of a file. If anything fails the file stays as it was.

    Args:
      path: the file.
      aside: where to write first, in the same folder; by default the file's name with `.new` behind it.
    """
    aside = path.with_name(f"{path.name}.new") if aside is None else aside
    try:
        yield aside
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)
