"""Tables and figure: returns by ranking, and which measure goes with the return."""

import csv
from collections import defaultdict
from pathlib import Path


def tables(folder: Path) -> str:
    return ""
