"""The report in a real browser: images, silence, no network, keyboard, narrow screens, contrast."""

from __future__ import annotations

import math

import pandas as pd
import pytest
from browser import Browser, browser, executable

from medtransfer.config.study import GridSettings, StudySettings
from medtransfer.evaluation.results import METRICS
from medtransfer.evaluation.run_records import RecordedRun, record_row, record_table, run_at
from medtransfer.figures.style import apply_style, note, save_figure
from medtransfer.pictures import picture
from medtransfer.reporting import Settings, StudyFigure, StudyTables, study_report
from medtransfer.statistics.verdict import VERDICTS
from medtransfer.tables import table_of

pytestmark = pytest.mark.skipif(executable() is None, reason="no chromium or chrome on PATH")
FIGURES = ("gains", "metrics", "cka")
LONG = "a_very_long_name_of_a_thing_without_any_space_in_it_as_users_write_them"


def cells() -> pd.DataFrame:
    rows = [
        {"recipe": "r", "dataset": LONG, "model": f"network_{number}", "subset": "full", "part": "test",
         "metric": "auroc", "target": True, "init": init, "mean": 0.7, "sd": 0.01, "low": 0.6,
         "high": 0.8, "runs": 3, "training_images": 100, "images": 50}
        for number in range(14) for init in ("random", LONG)
    ]  # fmt: skip
    return pd.DataFrame(rows)


def records() -> pd.DataFrame:
    paths = [f"r/{LONG}/m/random/full/holdout/seed{seed}" for seed in range(13)]
    runs = [RecordedRun(run_at(path), "study") for path in paths]
    return record_table(record_row(one, {"versions": {"torch": "2"}}, "", math.nan) for one in runs)


AUDIT = {
    "images": 10, "patients": 5, "rejected": 1, "classes": {"a": 10}, "sites": {},
    "rejected_reasons": {f"decode: {LONG}": 1}, "images_of_unknown_patients": 10,
    "patients_at_several_sites": 0, "contradictions": {"images": 0, "examples": []}, "dropped": [],
    "burned_in": {}, "site_confounding": {}, "accepted_leakage": [],
    "duplicates": {"exact_pairs": 0, "exact_pairs_of_different_patients": 0, "exact_examples": [],
                   "near_pairs": 0, "near_pairs_of_different_patients": 0, "near_examples": []},
    "splits": {},
}  # fmt: skip


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    folder = tmp_path_factory.mktemp("report")
    apply_style()
    figures = []
    for name in FIGURES:
        save_figure(note(f"{name} " * 40), [folder / f"{name}.png"])
        image = picture((folder / f"{name}.png").read_bytes())
        figures.append(StudyFigure(name, image, "How to read it. Made from the ``gains`` table."))
    grid = GridSettings(recipe="r", datasets=("d",), models=("m",), inits=("random",))
    study = StudySettings(title=LONG, question=f"Does {LONG} help?", grids=(grid,))
    nothing = pd.DataFrame()
    verdicts, metrics = table_of([], VERDICTS), table_of([], METRICS)
    tables = StudyTables(cells(), verdicts, nothing, nothing, nothing, metrics, records())
    settings = Settings("toy", study, {LONG: LONG}, {"studies": {LONG: [LONG] * 3}})
    page = folder / "report.html"
    page.write_text(study_report(settings, f"{LONG} helps.", tables, {LONG: AUDIT}, figures))
    return page


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    with browser(tmp_path_factory.mktemp("profile")) as found:
        yield found


@pytest.fixture
def shown(running: Browser, path) -> Browser:
    """The page as it is when it has just been opened in a wide window."""
    running.open(path, width=1300)
    return running


FOCUSABLE = "[...document.querySelectorAll('a[href], summary, [tabindex=\"0\"]')]"
VISIBLE = f"{FOCUSABLE}.filter(one => one.checkVisibility({{visibilityProperty: true}}))"
FOCUSED = f"{FOCUSABLE}.indexOf(document.activeElement)"
WIDER = (
    "[...document.querySelectorAll('body *')].filter(one => !one.closest('.scroll *, pre *, .skip') "
    "&& one.getBoundingClientRect().right > innerWidth)"
)
OUTLINE = "getComputedStyle(document.activeElement).outlineStyle"


def test_all_images_load_in_their_own_shape(shown):
    sizes = shown.run(
        "[...document.images].map(one => [one.complete, one.naturalWidth, one.naturalHeight, "
        "one.clientWidth, one.clientHeight, one.alt.length, one.loading])"
    )
    assert len(sizes) == len(FIGURES)
    for complete, width, height, *shown_size, words, loading in sizes:
        assert complete and width > 300 and words > 20 and loading != "lazy"
        assert shown_size[0] / shown_size[1] == pytest.approx(width / height, rel=0.02)


def test_the_page_says_nothing_on_the_console(shown):
    methods = ("Runtime.consoleAPICalled", "Runtime.exceptionThrown", "Log.entryAdded")
    assert shown.told(*methods) == []


def test_nothing_is_asked_of_a_network(shown, path):
    asked = [one["request"]["url"] for one in shown.told("Network.requestWillBeSent")]
    assert [url for url in asked if not url.startswith("data:")] == [path.as_uri()]
    assert shown.run("fetch('http://example.org').then(() => 'sent', () => 'refused')") == "refused"


def test_tab_reaches_everything_in_order_and_shows_where_it_is(shown):
    shown.run("document.querySelectorAll('details').forEach(one => one.open = true)")
    expected = shown.run(f"{VISIBLE}.map(one => {FOCUSABLE}.indexOf(one))")
    reached = []
    for _ in expected:
        shown.press("Tab")
        reached.append(shown.run(f"[{FOCUSED}, {OUTLINE}]"))
    assert [place for place, _ in reached] == expected
    assert {outline for _, outline in reached} == {"solid"}
    kinds = shown.run(f"{VISIBLE}.map(one => one.localName)")
    assert kinds.count("summary") == shown.run("document.querySelectorAll('summary').length") == 4
    assert kinds.count("a") > len(FIGURES) + 8


def test_the_first_link_skips_the_contents(shown):
    shown.press("Tab")
    assert shown.run("document.activeElement.textContent") == "Skip to the content"
    assert shown.run("document.activeElement.getBoundingClientRect().left") >= 0
    shown.press("Enter")
    shown.press("Tab")
    assert shown.run("document.activeElement.closest('nav, header')") is None
    assert shown.run("!!document.activeElement.closest('main')")


def test_enter_opens_what_is_folded_and_closes_it(shown):
    shown.run("document.querySelector('summary').focus()")
    for is_open in (True, False):
        shown.press("Enter")
        assert shown.run("document.querySelector('details').open") is is_open


def test_a_figure_opens_in_full_size_and_closes_by_keyboard(shown):
    second = "document.querySelectorAll('.picture')[1]"
    image = f"{second}.querySelector('img')"
    height = shown.run("document.documentElement.scrollHeight")
    shown.run(f"{second}.querySelector('.open').focus()")
    shown.press("Enter")
    box = "(box => [box.left, box.top, box.width, box.height])"
    assert shown.run(f"{box}({second}.getBoundingClientRect())") == [0, 0, 1300, 900]
    assert shown.run(f"{image}.clientWidth === {image}.naturalWidth")
    assert shown.run("document.documentElement.scrollHeight") == height
    # nothing behind it is seen or reached
    links = shown.run(f"{VISIBLE}.map(one => one.className)")
    assert links == ["close", "open"]
    shown.press("Tab")
    assert shown.run("document.activeElement.textContent").startswith("Close: ")
    shown.press("Enter")
    assert shown.run(f"getComputedStyle({second}).position") == "static"
    assert shown.run("document.querySelectorAll('.picture:target').length") == 0
    shown.press("Tab")
    assert shown.run(f"document.activeElement === {second}.querySelector('.open')")


@pytest.mark.parametrize("width", [360, 768, 1300])
def test_only_tables_in_their_boxes_are_wider_than_the_screen(shown, width):
    shown.resize(width)
    shown.run("document.querySelectorAll('details').forEach(one => one.open = true)")
    assert shown.run("document.documentElement.scrollWidth") <= width
    wider = shown.run(f"{WIDER}.map(one => one.outerHTML.slice(0, 80))")
    assert wider == []
    if width == 360:
        boxes = "[...document.querySelectorAll('.scroll')]"
        assert shown.run(f"{boxes}.some(one => one.scrollWidth > one.clientWidth)")


CONTRAST = """
(() => {
  const parts = text => text.match(/[0-9.]+/g).map(Number);
  const light = ([r, g, b]) => [r, g, b].map(v => v / 255)
    .map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const behind = one => {
    for (; one; one = one.parentElement) {
      const colour = parts(getComputedStyle(one).backgroundColor);
      if (colour.length < 4 || colour[3] > 0) return colour;
    }
    return [255, 255, 255];
  };
  return [...document.querySelectorAll('body *')].filter(one => one.innerText).map(one => {
    const [a, b] = [parts(getComputedStyle(one).color), behind(one)].map(light).sort();
    return (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
  });
})()
"""


def test_all_words_have_the_contrast_of_level_aa(shown):
    shown.run("document.querySelectorAll('details').forEach(one => one.open = true)")
    ratios = shown.run(CONTRAST)
    assert len(ratios) > 100 and min(ratios) >= 4.5


def test_print_shows_what_is_folded_and_leaves_out_the_contents(shown):
    shown.call("Emulation.setEmulatedMedia", media="print")
    try:
        assert shown.run("getComputedStyle(document.querySelector('nav')).display") == "none"
        hidden = "[...document.querySelectorAll('details *')].filter(one => !one.checkVisibility())"
        assert shown.run(f"{hidden}.length") == 0
    finally:
        shown.call("Emulation.setEmulatedMedia", media="")
