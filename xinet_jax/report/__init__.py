"""Reports of runs: `record.py` reads a run folder, `page.py` makes one HTML page of what was read."""
