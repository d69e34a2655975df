"""`report.html` in a real browser without network: drawn, legible, wide and narrow, by day, by night and on paper."""

import pytest
from report.folders import a_sweep

from raysafe.report.page import write_page

SIZES = {"wide": (1280, 900), "narrow": (390, 844)}
TEXTS = """() => [...document.querySelectorAll('main *')]
  .filter(e => e.tagName !== 'title' && e.getClientRects().length)
  .filter(e => [...e.childNodes].some(node => node.nodeType === 3 && node.data.trim()))
  .map(e => { const scale = e.getScreenCTM ? Math.hypot(e.getScreenCTM().a, e.getScreenCTM().b) : 1;
              return [e.textContent.trim().slice(0, 40), scale * parseFloat(getComputedStyle(e).fontSize)]; })"""
PLOTS = """() => [...document.querySelectorAll('.plots svg')].map(svg => { const box = svg.getBoundingClientRect();
  const boxes = names => [...svg.querySelectorAll(names)].map(e => e.getBoundingClientRect());
  const outside = b => b.left < box.left - 3 || b.right > box.right + 3 || b.top < box.top - 3 || b.bottom > box.bottom + 3;
  return {name: svg.querySelector('title').textContent, width: box.width, height: box.height, texts: boxes('text').length,
          drawn: boxes('path, use').filter(b => b.width > 2 || b.height > 2).length, out: boxes('text').filter(outside).length};
})"""
COLOURS = """names => { const probe = document.createElement('i');
  document.body.append(probe);
  const colour = name => { probe.style.color = `var(--${name})`; return [name, getComputedStyle(probe).color]; };
  const found = Object.fromEntries(names.map(colour));
  probe.remove();
  return found; }"""
LEGIBLE = [("ink", "paper"), ("muted", "paper"), ("accent", "paper"), ("ink", "soft"), ("muted", "soft")]
CHIPS = [("good", "good-soft"), ("warn", "warn-soft"), ("bad", "bad-soft")]


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "sweep"
    a_sweep(folder)
    return write_page(folder).as_uri()


@pytest.fixture(scope="module")
def opened(chromium, address):
    """The page by size and colour scheme, each opened once, with what went wrong meanwhile."""
    pages, contexts = {}, []

    def page(size="wide", scheme="light"):
        if (size, scheme) not in pages:
            width, height = SIZES[size]
            contexts.append(chromium.new_context(viewport={"width": width, "height": height}, color_scheme=scheme))
            contexts[-1].set_offline(True)
            opened, wrong = contexts[-1].new_page(), []
            opened.on("console", lambda message: wrong.append(message.text))
            opened.on("pageerror", lambda error: wrong.append(str(error)))
            opened.on("requestfailed", lambda request: wrong.append(request.url))
            opened.goto(address)
            pages[size, scheme] = (opened, wrong)
        return pages[size, scheme]

    yield page
    for context in contexts:
        context.close()


def contrast(one, other):
    """As WCAG 2 defines it, of two `rgb(r, g, b)`."""

    def luminance(colour):
        parts = [int(part) / 255 for part in colour[4:-1].split(",")]
        linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    low, high = sorted([luminance(one), luminance(other)])
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("size", SIZES)
def test_the_page_opens_without_network_and_without_a_complaint(opened, size):
    page, wrong = opened(size)
    assert wrong == [] and page.title() == "sweep: raysafe report"


@pytest.mark.parametrize("size", SIZES)
def test_every_plot_is_drawn_with_its_texts_inside(opened, size):
    plots = opened(size)[0].evaluate(PLOTS)
    assert len(plots) > 30
    for plot in plots:
        assert plot["width"] > 300 and plot["height"] > 100 and plot["drawn"] > 2 and plot["texts"] > 3, plot
        assert plot["out"] == 0, plot


@pytest.mark.parametrize("size", SIZES)
def test_nothing_is_wider_than_the_window(opened, size):
    assert opened(size)[0].evaluate("document.documentElement.scrollWidth") <= SIZES[size][0]


@pytest.mark.parametrize("size", SIZES)
def test_no_text_is_smaller_than_nine_pixels(opened, size):
    small = [(text, pixels) for text, pixels in opened(size)[0].evaluate(TEXTS) if pixels < 9]
    assert small == []


def test_the_answer_is_the_largest_text_below_the_name(opened):
    texts = dict(opened()[0].evaluate(TEXTS))
    assert max(texts, key=texts.get) == "sweep" and texts["Changing objective from sft to wdoor moved"[:40]] >= 24


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_texts_stand_out_by_day_and_by_night(opened, scheme):
    pairs = LEGIBLE + CHIPS
    colours = opened("wide", scheme)[0].evaluate(COLOURS, sorted({name for pair in pairs for name in pair}))
    low = {pair: round(found, 2) for pair in pairs if (found := contrast(colours[pair[0]], colours[pair[1]])) < 4.5}
    assert low == {}


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_lines_stand_out_from_the_page(opened, scheme):
    """WCAG asks 3 of graphics; the light blue, orange and pink reach 2 by day, and have marks and line styles of their own."""
    colours = opened("wide", scheme)[0].evaluate(COLOURS, ["paper", *(f"c{n}" for n in range(6))])
    found = [contrast(colours[f"c{n}"], colours["paper"]) for n in range(6)]
    assert min(found[:3]) >= 3 and min(found) >= 2


def test_plots_follow_the_colour_scheme(opened):
    text = "getComputedStyle(document.querySelector('.plots svg text')).fill"
    assert opened("wide", "light")[0].evaluate(text) != opened("wide", "dark")[0].evaluate(text)


def test_folded_parts_open(opened):
    page, _ = opened()
    rows = page.locator("#results details tbody tr")
    assert not rows.first.is_visible()
    page.locator("#results").get_by_text("Every trial (16)").click()
    assert rows.first.is_visible() and rows.count() == 17


def test_on_paper_it_is_black_on_white_in_two_columns(chromium, address):
    context = chromium.new_context(viewport={"width": 718, "height": 1000}, color_scheme="dark")
    page = context.new_page()
    page.emulate_media(media="print", color_scheme="dark")
    page.goto(address)
    assert page.evaluate(COLOURS, ["ink", "paper"]) == {"ink": "rgb(0, 0, 0)", "paper": "rgb(255, 255, 255)"}
    assert page.evaluate("getComputedStyle(document.querySelector('.plots')).gridTemplateColumns.split(' ').length") == 2
    assert page.evaluate("document.documentElement.scrollWidth") <= 718
    context.close()
