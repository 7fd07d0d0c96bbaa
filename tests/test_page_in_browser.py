"""The pages as people meet them: in a real browser, which must find nothing to complain of."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import pytest
from axe_playwright_python.sync_playwright import Axe  # type: ignore[import-untyped]  # it has no types
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

from bulkredeem.page import NotDoneRow, write_index
from tests.pages import BEGAN, RUN_ID, entries, rows, summary, write_night

pytestmark = [pytest.mark.external, pytest.mark.timeout(300)]

CHROMIUM = "/usr/bin/chromium"
ARGUMENTS = (
    "--no-sandbox",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
)
MANY = 50_000
NASTY = '</script><img src=x onerror="window.ran=1"><script>window.ran=1</script>\'"\u2028\ud800\x00'
Scheme = Literal["light", "dark"]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Give a real browser."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(ARGUMENTS))
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def night(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give the page of a night with 1,240 rows not done."""
    return write_night(tmp_path_factory.mktemp("night"))


@pytest.fixture(scope="module")
def long_night(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give the page of a night with as many rows not done as a page holds."""
    return write_night(tmp_path_factory.mktemp("long"), MANY)


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give the page over sixty nights."""
    reports = tmp_path_factory.mktemp("reports")
    write_index(reports, entries())
    return reports / "index.html"


@dataclass(kw_only=True)
class Desk:
    """Opens pages, and notes what the browser says of them."""

    browser: Browser
    said: list[str] = field(default_factory=list)
    """Errors and warnings of any kind."""
    asked: list[str] = field(default_factory=list)
    """Every address that was asked for."""
    opened: list[Path] = field(default_factory=list)
    contexts: list[BrowserContext] = field(default_factory=list)

    def open(
        self,
        path: Path,
        *,
        scheme: Scheme = "light",
        width: int = 1440,
        scripts: bool = True,
        granted: tuple[str, ...] = (),
    ) -> Page:
        """Open a page in a window of its own."""
        context = self.browser.new_context(
            color_scheme=scheme,
            viewport={"width": width, "height": 900},
            java_script_enabled=scripts,
            permissions=list(granted),
        )
        self.contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: self.said.append(f"{message.type}: {message.text}"))
        page.on("pageerror", lambda error: self.said.append(str(error)))
        page.on("request", lambda request: self.asked.append(request.url))
        self.opened.append(path)
        page.goto(path.as_uri())
        return page


@pytest.fixture
def desk(browser: Browser) -> Iterator[Desk]:
    """Give somebody who opens pages; at the end nothing was complained of, and nothing else was asked for."""
    desk = Desk(browser=browser)
    yield desk
    for context in desk.contexts:
        context.close()
    assert desk.said == []
    assert desk.asked == [path.as_uri() for path in desk.opened]


@pytest.fixture(params=["night", "index"])
def either(request: pytest.FixtureRequest) -> Path:
    """Give each of the two kinds of page."""
    path: Path = request.getfixturevalue(request.param)
    return path


def numbers(page: Page) -> list[int]:
    """Return the numbers of the rows that are shown."""
    return [int(text) for text in page.locator("button.open").all_inner_texts()]


def chosen(page: Page) -> str:
    """Return what the page says of how many rows are shown."""
    return page.locator("#shown").inner_text()


def ground(page: Page) -> str:
    """Return the colour of the page's ground."""
    return str(page.evaluate("getComputedStyle(document.body).backgroundColor"))


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [375, 1440])
def test_nothing_serious_keeps_anybody_from_using_it(desk: Desk, either: Path, scheme: Scheme, width: int) -> None:
    """By the rules of axe-core, in both schemes, on a telephone and on a screen, with the details of a row open."""
    page = desk.open(either, scheme=scheme, width=width)
    page.locator(".numbers summary").first.click()
    if page.locator("button.open").count():
        page.locator("button.open").first.click()
    found = Axe().run(page).response["violations"]
    assert [(each["id"], each["nodes"][0]["html"]) for each in found if each["impact"] in {"serious", "critical"}] == []


@pytest.mark.parametrize("width", [320, 375, 768, 1024, 1440])
def test_nothing_is_wider_than_the_window(desk: Desk, either: Path, width: int) -> None:
    """Nobody has to move the page to and fro."""
    page = desk.open(either, width=width)
    if page.locator("button.open").count():
        page.locator("button.open").first.click()
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.evaluate("document.body.scrollWidth") <= width


def test_the_colours_follow_the_system_until_somebody_chooses(desk: Desk, either: Path) -> None:
    """And what was chosen is remembered."""
    page = desk.open(either, scheme="dark")
    dark = ground(page)
    page.get_by_role("button", name="Light colours").click()
    light = ground(page)
    assert light != dark
    page.emulate_media(color_scheme="light")
    assert ground(page) == light
    page.get_by_role("button", name="Dark colours").click()
    assert ground(page) == dark
    desk.opened.append(either)
    page.reload()
    assert ground(page) == dark


def test_a_filter_chooses_the_right_rows_of_fifty_thousand(desk: Desk, long_night: Path) -> None:
    """By each of the four, and together."""
    told = list(rows(MANY))
    page = desk.open(long_night)
    page.get_by_label("Status").select_option("=refused")
    refused = [row.row_number for row in told if row.status == "refused"]
    assert chosen(page) == f"1 to 50 of {len(refused):,} rows, chosen from 50,000"
    assert numbers(page) == refused[:50]
    page.get_by_role("button", name="Clear").click()
    expect(page.locator("#shown")).to_have_text("1 to 50 of 50,000 rows")
    page.get_by_label("Who mends it").select_option("=file_owner")
    page.get_by_label("Code").select_option("=748")
    nothing_to_set = [row.row_number for row in told if row.error_code == "748"]
    assert numbers(page) == nothing_to_set[:50]
    page.get_by_label("Code").select_option("")
    page.get_by_label("Reason").select_option("=billId is not a whole number.")
    assert chosen(page).startswith(f"1 to 50 of {sum(row.error_code[:4] == 'BILL' for row in told):,} rows")


def test_a_search_looks_through_all_cells(desk: Desk, long_night: Path) -> None:
    """Every word of it must stand somewhere in the row, whatever the case."""
    told = list(rows(MANY))
    page = desk.open(long_night)
    page.get_by_label("Search").fill(f"{told[40_000].request_id[:12].upper()} till")
    expect(page.locator("#shown")).to_have_text("1 to 1 of 1 rows, chosen from 50,000")
    assert numbers(page) == [told[40_000].row_number]
    page.get_by_label("Search").fill("nothing like this")
    expect(page.locator("#shown")).to_have_text("0 of 50,000 rows")
    expect(page.locator(".empty")).to_have_text("No rows match.")


def test_a_click_on_a_head_sorts_and_another_one_turns_it_round(desk: Desk, long_night: Path) -> None:
    """Numbers as numbers, and rows that are equal in the file's order."""
    told = list(rows(MANY))
    page = desk.open(long_night)
    page.get_by_role("button", name="Row", exact=True).click()
    assert numbers(page) == [row.row_number for row in told[:-51:-1]]
    expect(page.locator("th[data-sort=row]")).to_have_attribute("aria-sort", "descending")
    page.get_by_role("button", name="Tries").click()
    assert numbers(page) == [row.row_number for row in sorted(told, key=lambda row: row.attempts)][:50]
    page.get_by_role("button", name="Status").click()
    assert numbers(page) == [row.row_number for row in sorted(told, key=lambda row: row.status)][:50]
    assert page.locator("[aria-sort]").count() == 1


def test_pages_are_turned_and_only_one_of_them_is_in_the_document(desk: Desk, long_night: Path) -> None:
    """First, last, and so many rows as one likes."""
    told = [row.row_number for row in rows(MANY)]
    page = desk.open(long_night)
    expect(page.get_by_role("button", name="Previous page")).to_be_disabled()
    page.get_by_role("button", name="Next page").click()
    assert numbers(page) == told[50:100]
    page.get_by_role("button", name="Last page").click()
    assert numbers(page) == told[-50:]
    expect(page.get_by_role("button", name="Next page")).to_be_disabled()
    page.get_by_role("button", name="Previous page").click()
    assert numbers(page) == told[-100:-50]
    page.get_by_label("Per page").select_option("250")
    assert numbers(page) == told[:250]
    assert page.locator("table.rows tbody tr").count() == 250


def test_fifty_thousand_rows_are_chosen_and_sorted_without_a_pause(desk: Desk, long_night: Path) -> None:
    """Each within a second, on a slow machine."""
    page = desk.open(long_night)
    took = page.evaluate(
        """() => {
            const timed = (act) => { const began = performance.now(); act(); return performance.now() - began; };
            const status = document.querySelector("select[data-filter='0']");
            return [
                timed(() => { status.value = "=refused"; status.dispatchEvent(new Event("change")); }),
                timed(() => document.querySelector("th[data-sort=code] button").click()),
                timed(() => document.querySelector("th[data-sort=redemption] button").click()),
            ];
        }"""
    )
    assert max(took) < 1_000


def test_the_details_of_a_row_come_and_go(desk: Desk, night: Path) -> None:
    """All that is known of it: its own cells under their headers, tries, request and moment."""
    told = next(row for row in rows(1240) if row.warnings and row.request_id)
    page = desk.open(night)
    page.get_by_label("Search").fill(told.request_id)
    expect(page.locator("#shown")).to_have_text("1 to 1 of 1 rows, chosen from 1,240")
    button = page.get_by_role("button", name=f"Row {told.row_number}: details")
    button.click()
    expect(button).to_have_attribute("aria-expanded", "true")
    details = page.locator(".details").inner_text()
    for words in (told.reason, *told.warnings, told.request_id, told.cells[3], told.cells[6], "Bill No", "billNumber"):
        assert words in details
    assert re.search(r"Outcome at\s+2026-11-2\dT", details)
    assert told.cells[5] not in details
    assert f"•••{told.cells[5][-4:]}" in details
    button.click()
    expect(page.locator(".details")).to_have_count(0)


def test_everything_is_reached_by_the_keyboard(desk: Desk, night: Path) -> None:
    """From the first link on: colours, commands, filters, heads, rows, pages; and Enter opens a row."""
    page = desk.open(night)
    reached = []
    for _ in range(160):
        page.keyboard.press("Tab")
        reached.append(
            page.evaluate(
                "document.activeElement.id || document.activeElement.className || document.activeElement.tagName"
            )
        )
        if reached[-1] == "next":
            break
    assert reached[0] == "skip"
    assert {"scheme", "copy", "search", "size", "next", "open", "SELECT", "SUMMARY"} <= set(reached)
    page.locator("button.open").first.focus()
    page.keyboard.press("Enter")
    expect(page.locator(".details")).to_be_visible()
    page.locator(".skip").focus()
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"


def test_a_command_is_copied_as_it_stands(desk: Desk, night: Path) -> None:
    """Into the clipboard, and the page says so."""
    page = desk.open(night, granted=("clipboard-read", "clipboard-write"))
    page.locator("button.copy").last.click()
    expect(page.locator("#said")).to_have_text("The command was copied.")
    assert page.evaluate("navigator.clipboard.readText()") == f"bulkredeem retry reports/{RUN_ID}"


def test_a_chart_says_what_the_pointer_is_on(desk: Desk, night: Path) -> None:
    """Moment and numbers, below it."""
    page = desk.open(night)
    chart = page.locator(".chart").first
    chart.locator(".drawn").hover()
    expect(chart.locator(".readout")).to_have_text(
        re.compile(r"2[45] Nov \d\d:\d\d\s+sent [\d.]+, allowed [\d.]+ a second")
    )


@pytest.mark.parametrize("show_pii", [False, True])
def test_a_hostile_cell_runs_nothing(desk: Desk, tmp_path: Path, show_pii: bool) -> None:  # noqa: FBT001  a column of the table
    """Wherever a text of the file or of the platform is shown, it is a text."""
    plain = next(rows(1))
    told = NotDoneRow(
        row_number=2,
        status="refused",
        error_code=NASTY,
        error_message=NASTY,
        reason=NASTY,
        mend_by="data_team",
        warnings=(NASTY,),
        http_status=400,
        attempts=1,
        request_id=NASTY,
        finished_at=BEGAN,
        cells=(NASTY,) * len(plain.cells),
    )
    of = summary(1)
    of = replace(of, info=replace(of.info, path=NASTY, by=NASTY, environment=NASTY, reason=NASTY, run_id=NASTY))
    of = replace(of, top_errors=(replace(of.top_errors[0], message=NASTY, code=NASTY),))
    page = desk.open(write_night(tmp_path, told=[told], of=of, show_pii=show_pii))
    page.locator("button.open").click()
    assert "onerror=" in page.locator(".details").inner_text()
    assert page.evaluate("window.ran") is None
    assert page.locator("img").count() == 0


def test_a_script_that_got_in_all_the_same_runs_nothing(desk: Desk, either: Path, tmp_path: Path) -> None:
    """The policy of the page lets only its own run, and lets nobody make HTML of a text."""
    broken = tmp_path / "broken.html"
    got_in = '<script>window.ran = 1</script><img src="data:,x" onerror="window.ran = 1"></main>'
    broken.write_text(either.read_text().replace("</main>", got_in))
    page = desk.open(broken)
    expect(page.locator("#shown")).not_to_be_empty()
    assert page.evaluate("window.ran") is None
    assert page.evaluate("try { document.body.innerHTML = '<b>x</b>'; } catch (error) { error.name; }") == "TypeError"
    complaints = [each for each in desk.said if "Content Security Policy" in each or "requires" in each]
    assert complaints == desk.said
    assert len(complaints) >= 3
    desk.said.clear()
    desk.asked = [each for each in desk.asked if not each.startswith("data:")]


def test_a_hostile_run_in_the_index_runs_nothing(desk: Desk, tmp_path: Path) -> None:
    """Names of files are anybody's."""
    told = [
        replace(
            entries(1)[0],
            name=NASTY.replace("/", "_").replace("\x00", ""),
            path=NASTY,
            environment=NASTY,
            problem=NASTY,
            retry_of=NASTY,
        )
    ]
    write_index(tmp_path, told)
    page = desk.open(tmp_path / "index.html")
    assert "onerror=" in page.locator("table.runs").inner_text()
    assert page.evaluate("window.ran") is None
    assert page.locator("img").count() == 0


def test_without_scripts_all_but_the_rows_is_there(desk: Desk, night: Path) -> None:
    """A preview in a mail program runs none."""
    page = desk.open(night, scripts=False)
    expect(page.get_by_role("heading", name="What to do next")).to_be_visible()
    expect(page.locator(".chart")).to_have_count(3)
    expect(page.get_by_text("The table of rows needs JavaScript.")).to_be_visible()
    expect(page.locator("#table")).to_be_hidden()


def test_paper_gets_what_can_be_read_on_paper(desk: Desk, night: Path) -> None:
    """Verdict, steps, charts and the first rows, dark on white, without what is to be clicked."""
    page = desk.open(night, scheme="dark")
    page.emulate_media(media="print")
    for words in ("What to do next", "On the wire", "Rows not done"):
        expect(page.get_by_role("heading", name=words)).to_be_visible()
    for gone in (".filters", "#scheme", ".turn"):
        expect(page.locator(gone)).to_be_hidden()
    assert page.locator("table.rows tbody tr:visible").count() == 25
    expect(page.get_by_text("Not more than 25 rows are printed.")).to_be_visible()
    assert ground(page) == "rgb(255, 255, 255)"


def test_the_index_leads_to_the_pages(desk: Desk, index: Path) -> None:
    """The newest run stands first; its page is one click away."""
    newest = max(entries(), key=lambda entry: entry.started_at or 0.0)
    page = desk.open(index)
    link = page.locator("table.runs tbody a").first
    assert link.get_attribute("href") == f"{newest.name}/report.html"
    page.get_by_label("State").select_option("=crashed")
    crashed = sum(entry.state == "crashed" for entry in entries())
    assert page.locator("table.runs tbody tr").count() == crashed
    page.get_by_label("State").select_option("")
    page.get_by_role("button", name="Counts").click()
    assert page.locator("th[data-sort=not_done]").get_attribute("aria-sort") == "descending"


def test_the_index_of_three_thousand_runs_is_shown_at_once(desk: Desk, tmp_path: Path) -> None:
    """Within a second from opening to the first row."""
    kept = entries()
    many = [replace(kept[number % len(kept)], name=f"run-{number}") for number in range(3_000)]
    write_index(tmp_path, many)
    page = desk.open(tmp_path / "index.html")
    expect(page.locator("#shown")).to_have_text("1 to 50 of 3,000 runs")
    timing = json.loads(page.evaluate("JSON.stringify(performance.getEntriesByType('navigation')[0])"))
    assert timing["loadEventEnd"] < 3_000
