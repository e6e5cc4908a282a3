"""The command `xinet report`."""

import pytest
from report.runs import write_run

from xinet_jax.cli import main


def test_a_report_is_written_and_not_overwritten(tmp_path, capsys):
    run, out = str(write_run(tmp_path / "run")), tmp_path / "out.html"
    assert main(["report", run, "--out", str(out)]) == 0
    assert capsys.readouterr().out == f"Report: {out}\n"
    assert out.read_text().startswith("<!DOCTYPE html>")
    out.write_text("kept")
    assert main(["report", run, "--out", str(out)]) == 2
    assert capsys.readouterr().err == f"xinet: {out} exists: choose another with --out, or give --overwrite\n"
    assert out.read_text() == "kept"
    assert main(["report", run, "--out", str(out), "--overwrite"]) == 0
    assert out.read_text().startswith("<!DOCTYPE html>")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.html", "run"]


def test_a_name_that_is_no_text_is_written_somehow(tmp_path):
    out = tmp_path / "out.html"
    assert main(["report", str(write_run(tmp_path / "ru\udcffn")), "--out", str(out)]) == 0
    assert b"ru?n" in out.read_bytes()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("", "report needs one or more run folders: xinet report RUN [RUN ...]"),
        ("nowhere", "nowhere is no run folder: it has no config.yaml"),
        ("run nowhere", "nowhere is no run folder: it has no config.yaml"),
        ("run --out nowhere/page.html", "cannot write nowhere/page.html: No such file or directory"),
        ("run --out run", "run is a folder: choose a file with --out"),
        ("run --outt page.html", "unknown option --outt: did you mean --out? See --help"),
        ("begun", "begun has no metrics yet: nothing can be reported of it"),
    ],
)
def test_mistakes_end_in_one_line(arguments, message, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_run(tmp_path / "run")
    (write_run(tmp_path / "begun") / "metrics.jsonl").write_text("")
    assert main(["report", *arguments.split()]) == 2
    assert capsys.readouterr().err == f"xinet: {message}\n"
    assert not (tmp_path / "report.html").exists()
