"""The page, as text: what it shows of which run, and that nothing in it is anything but text."""

import html
import html.parser
import json
import re

import plotly.graph_objects
import pytest
from report.runs import write_run

from xinet_jax.report.charts import line_chart, trade_off_chart, units_chart
from xinet_jax.report.groups import groups_of
from xinet_jax.report.page import page
from xinet_jax.report.record import read_run


def figures_of(text):
    return json.loads(re.search(r'id="figures">(.*?)</script>', text, re.DOTALL)[1])


def without_scripts(text):
    return re.sub(r"<script.*?</script>", "", text, flags=re.DOTALL)


class Balance(html.parser.HTMLParser):
    """Raises AssertionError where elements are not closed in their order; collects the ids."""

    def __init__(self):
        super().__init__()
        self.open, self.ids = [], []

    def handle_starttag(self, tag, attributes):
        self.ids += [value for name, value in attributes if name == "id"]
        if tag not in ("meta", "br", "input"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def check_html(text):
    balance = Balance()
    balance.feed(text)
    assert balance.open == []
    assert len(set(balance.ids)) == len(balance.ids)


def test_a_page_of_one_run_shows_all_of_it(tmp_path):
    text = page([read_run(write_run(tmp_path / "run"))])
    check_html(text)
    assert "<title>xinet on Hopper-v5</title>" in text
    words = without_scripts(text)
    assert "<strong>55</strong>" in words, "the mean of the saved policies' returns"
    assert "<strong>25.0%</strong>" in words
    assert "xinet train --task Hopper-v5 --seeds 2 --envs 2 --update-ratio 2" in words
    assert "did not record its versions" in words
    figures = figures_of(text)
    assert {"return", "parameters_left", "flops_left", "units-0", "speed", "critic_loss", "entropy"} <= set(figures)
    assert "actor_loss" not in figures, "no value of it is finite"
    assert "trade_off" not in figures
    drawn = re.findall(r'data-figure="([^"]*)"', words)
    assert sorted(drawn) == sorted(figures)
    assert not re.search(r'(src|href)="(?!#)', words), "nothing is fetched"


def test_figures_are_plotlys(tmp_path):
    runs = [read_run(write_run(tmp_path / "a", nu=(10, 20))), read_run(write_run(tmp_path / "b", agent="ofenet"))]
    for figure in figures_of(page(runs)).values():
        named = re.sub(r'"(var|faint)\(--[a-z]+-?\d?\)"', '"#123456"', json.dumps(figure, allow_nan=False))
        plotly.graph_objects.Figure(json.loads(named))  # raises ValueError for what plotly does not know


def test_the_mean_and_its_interval_are_drawn(tmp_path):
    (group,) = groups_of([read_run(write_run(tmp_path / "run", seeds=3))])
    low, high, first, _, third, mean = line_chart([group], "return", "return")["data"]
    assert (first["y"], third["y"], mean["y"]) == ([40.0, 60.0], [60.0, 80.0], [50.0, 70.0])
    assert low["y"][0] == pytest.approx(50 - 4.30265 * 10 / 3**0.5, rel=1e-4)
    assert high["y"][0] == pytest.approx(50 + 4.30265 * 10 / 3**0.5, rel=1e-4)
    assert mean["customdata"][0] == [low["y"][0], high["y"][0]]
    for seeds, lines in ((1, 1), (2, 3)):
        (few,) = groups_of([read_run(write_run(tmp_path / str(seeds), seeds=seeds))])
        traces = line_chart([few], "return", "return")["data"]
        assert len(traces) == lines, "each seed where there are several, and their mean"
        assert "customdata" not in traces[-1]


def test_units_over_time_are_shares_of_the_dense_layer(tmp_path):
    (group,) = groups_of([read_run(write_run(tmp_path / "run"))])
    (trace,) = units_chart(group)["data"]
    assert trace["y"] == [
        "OFENet state 1", "OFENet action 1", "actor hidden 1", "critic 1 hidden 1", "critic 2 hidden 1",
    ]  # fmt: skip
    assert trace["x"] == [20, 40, 60]
    assert trace["z"] == [[100.0, 50.0, 25.0]] * 5
    assert trace["text"][0][2] == "1 of 4 units"


def test_returns_are_drawn_against_sizes(tmp_path):
    groups = groups_of([read_run(write_run(tmp_path / "run", nu=(10, 20)))])
    traces = trade_off_chart(groups)["data"]
    assert [trace.get("name") for trace in traces] == ["ν = 10", "ν = 20", None, "ν = 10", "ν = 20"]
    assert (traces[3]["x"], traces[3]["y"]) == ([25.0], [55.0])
    assert trade_off_chart(groups[:1]) is None


@pytest.mark.parametrize("agent", ["sac", "ofenet"])
def test_agents_that_do_not_prune_have_no_charts_of_it(agent, tmp_path):
    text = page([read_run(write_run(tmp_path / "run", agent=agent))])
    check_html(text)
    assert not {"parameters_left", "flops_left", "units-0", "trade_off"} & set(figures_of(text))
    assert "Parameters left" not in text


def test_a_run_that_has_just_begun_has_a_page(tmp_path):
    folder = write_run(tmp_path / "run", finished=False)
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    (folder / "metrics.jsonl").write_text("\n".join(lines[:2]))
    text = page([read_run(folder, running=True)])
    check_html(text)
    assert "<strong>running</strong>" in text
    assert "No evaluation yet." in text


def test_several_runs_stand_side_by_side(tmp_path):
    runs = [read_run(write_run(tmp_path / "a")), read_run(write_run(tmp_path / "b", agent="sac"))]
    text = page(runs)
    check_html(text)
    assert [trace["name"] for trace in figures_of(text)["return"]["data"] if "name" in trace] == [r.name for r in runs]
    assert "cannot be compared" not in text


def test_names_are_text_and_nothing_else(tmp_path):
    evil = '<script>alert("1")<b>&'
    plain = page([read_run(write_run(tmp_path / name, nu=(10, 20))) for name in ("a", "b")])
    runs = []
    for name in ("", "2"):
        folder = write_run(tmp_path / f"{evil}{name}", nu=(10, 20), branch_from=f"{evil}</script>")
        metrics = (folder / "metrics.jsonl").read_text().replace("actor/hidden_1", "actor/hidden_<script>")
        (folder / "metrics.jsonl").write_text(metrics)
        start = {"time": evil, "commit": evil, evil: evil, "packages": {evil: evil}}
        (folder / "starts.jsonl").write_text(json.dumps(start, allow_nan=False))
        runs.append(read_run(folder))
    text = page(runs)
    check_html(text)
    assert (text.count("<script"), text.count("</script")) == (plain.count("<script"), plain.count("</script"))
    assert "<b>" not in without_scripts(text)
    assert "&lt;script&gt;alert" in without_scripts(text)
    # plotly takes some HTML in texts for what it is, so they are escaped there too
    names = [trace["name"] for trace in figures_of(text)["return"]["data"] if "name" in trace]
    assert names == [f"{html.escape(run.name)}, ν = {nu}" for run in runs for nu in (10, 20)]
    assert "actor hidden &lt;script&gt;" in figures_of(text)["units-0"]["data"][0]["y"]
