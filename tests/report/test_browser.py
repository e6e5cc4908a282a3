"""The page in headless Chromium, by its own file, without a network."""

import shutil

import pytest
from report.runs import write_run

from xinet_jax.report.record import read_run
from xinet_jax.report.writing import write_report

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


@pytest.fixture(scope="module")
def browser():
    playwright = pytest.importorskip("playwright.sync_api")
    with playwright.sync_playwright() as started:
        opened = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield opened
        opened.close()


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1200, 390])
def test_the_page_draws_its_charts_and_answers(browser, scheme, width, tmp_path):
    runs = [read_run(write_run(tmp_path / "<b>run", seeds=3, nu=(10, 20))), read_run(write_run(tmp_path / "other"))]
    write_report(runs, tmp_path / "report.html")
    view = browser.new_page(color_scheme=scheme, viewport={"width": width, "height": 900}, offline=True)
    view.set_default_timeout(10_000)
    said, asked = [], []
    view.on("console", lambda message: said.append(message.text))
    view.on("pageerror", lambda error: said.append(str(error)))
    view.on("request", lambda request: asked.append(request.url))
    view.goto((tmp_path / "report.html").as_uri())
    view.wait_for_function("document.querySelector('#chart-action_value .main-svg') !== null")
    assert asked == [view.url]
    shown = view.locator(".chart:visible")
    assert shown.count() > 10
    assert all(chart.locator(".main-svg").count() for chart in shown.all())
    assert view.evaluate("document.documentElement.scrollWidth") == width, "nothing sticks out"
    colours = {"light": "rgb(255, 255, 255)", "dark": "rgb(20, 23, 27)"}
    assert view.evaluate("getComputedStyle(document.body).backgroundColor") == colours[scheme]

    chart = view.locator("#chart-return")
    chart.scroll_into_view_if_needed()
    middle = chart.locator(".nsewdrag").bounding_box()
    view.mouse.move(middle["x"] + middle["width"] / 2, middle["y"] + middle["height"] / 2, steps=3)
    label = chart.locator(".hoverlayer .legend")
    label.wait_for()
    assert "<b>run, ν = 10 : 50.0 (95%: 25.2 to 74.8)" in label.text_content()

    thin = chart.locator(".scatterlayer .trace")
    before = thin.count()
    view.uncheck("#members-shown")
    assert thin.count() == before - 8, "a line for each member"
    view.select_option("#choice", "2")
    assert view.locator("#chart-units-2 .main-svg >> nth=0").is_visible()
    assert not view.locator("#chart-units-0").is_visible()

    view.emulate_media(color_scheme="dark" if scheme == "light" else "light")
    assert view.evaluate("getComputedStyle(document.body).backgroundColor") not in colours[scheme]
    assert said == []
    view.close()
