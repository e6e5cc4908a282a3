"""Additions to the site: pages from elsewhere in the repository, source files, and the help of the command line.

Pages link to each other by their paths in the repository, so the links work there and, rewritten, on the site.
"""

import os
import posixpath
import re
import subprocess
import sys
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[1]
# Files of the repository that become part of the site, and where.
ADDED = {
    "CONTRIBUTING.md": "contributing.md",
    "benchmarks/README.md": "benchmarks.md",
    "experiments/README.md": "experiments.md",
    "experiments/defaults/exploration.csv": "notebook/exploration.csv",
    "experiments/environments/runs.csv": "how-to/environments.csv",
    "examples/outgoing.py": "how-to/outgoing.py",
    "examples/quickstart.ipynb": "quickstart.ipynb",
    "examples/spinner.py": "how-to/spinner.py",
    "examples/sweep.sbatch": "sweep.sbatch",
    "examples/thermostat.py": "thermostat.py",
    "examples/spinner.xml": "how-to/spinner.xml",
}
_LINK = re.compile(r"(\]\()([^)#\s:]+)(#[^)\s]*)?(\))")
_FILE = re.compile(r"^<!-- file (\S+) -->$", re.MULTILINE)
_HELP = re.compile(r"^<!-- help(?: (\w+))? -->$", re.MULTILINE)


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds the files of `ADDED` to the site."""
    for path, place in ADDED.items():
        files.append(File.generated(config, place, content=(ROOT / path).read_text()))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Returns a page with its links rewritten for the site, and with the help and the files that it asks for."""
    markdown = _FILE.sub(lambda match: source_of(match[1]), rewritten(markdown, page.file.src_uri))
    return _HELP.sub(lambda match: help_of(match[1]), markdown)


def rewritten(markdown: str, place: str) -> str:
    """Returns the text of a page with links between paths of the repository as links between pages of the site.

    Args:
      markdown: the text.
      place: the page's path on the site.
    """
    paths = {target: path for path, target in ADDED.items()}
    folder = posixpath.dirname(paths.get(place, f"docs/{place}"))

    def link(match: re.Match) -> str:
        path = posixpath.normpath(posixpath.join(folder, match[2]))
        target = ADDED.get(path, path.removeprefix("docs/") if path.startswith("docs/") else None)
        if target is None:
            return match[0]
        return f"{match[1]}{posixpath.relpath(target, posixpath.dirname(place) or '.')}{match[3] or ''}{match[4]}"

    return _LINK.sub(link, markdown)


def source_of(path: str) -> str:
    """Returns a Python file of the repository as a block of code."""
    return f"```python\n{(ROOT / path).read_text().rstrip()}\n```"


def help_of(command: str | None) -> str:
    """Returns the help of `xinet`, or of one of its commands, as a block of code."""
    words = [sys.executable, "-m", "xinet_jax", *([command] if command else []), "--help"]
    environment = os.environ | {"COLUMNS": "96", "NO_COLOR": "1", "PYTHONIOENCODING": "utf-8"}
    done = subprocess.run(words, capture_output=True, check=True, cwd=ROOT, env=environment, encoding="utf-8")
    return f"```text\n{done.stdout.rstrip()}\n```"
