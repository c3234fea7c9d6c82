"""Open pages in Chromium at three widths, light, dark and in print; say what a reader would trip over.

    python scripts/check_pages.py results/RUN/report.html results/SWEEP/report.html --shots shots

A page is refused where it says something on the console, is wider than its window, has a chart without marks,
has labels of a chart that lie on each other or are cut off, or breaks a rule of accessibility that axe knows.
Needs `playwright`, `axe-playwright-python` and a Chromium.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

WIDTHS_PX = (1280, 768, 390)
HEIGHT_PX = 900
SCHEMES = ("light", "dark")
DRAWN = "[...document.querySelectorAll('.chart[id]')].every(each => each.querySelector('svg'))"
MEASURE = r"""
() => {
  const found = [];
  const page = document.documentElement;
  if (page.scrollWidth > innerWidth + 1)
    found.push(`the page is ${page.scrollWidth} px wide in ${innerWidth}`);
  for (const box of document.querySelectorAll('.chart[id]')) {
    if (box.offsetParent === null) continue;
    const name = box.id, svg = box.querySelector('svg');
    if (!svg) { found.push(`${name}: no chart is drawn`); continue }
    const marks = svg.querySelectorAll('.mark-line path,.mark-area path,.mark-rect path,.mark-symbol path,' +
      '.mark-rule line,.mark-arc path,.mark-trail path');
    const seen = [...marks].filter(each => !each.closest('.role-legend,.role-axis,.role-axis-grid') &&
      (each.tagName === 'line' || (each.getAttribute('d') || '').length > 2));
    if (!seen.length) found.push(`${name}: it has no marks`);
    const frame = svg.getBoundingClientRect();
    const texts = [...svg.querySelectorAll('text')].filter(each => each.textContent.trim() &&
      getComputedStyle(each).opacity !== '0' && each.closest('[opacity="0"]') === null);
    const boxes = texts.map(each => ({text: each.textContent, at: each.getBoundingClientRect()}));
    for (const {text, at} of boxes) {
      if (at.left < frame.left - 2 || at.right > frame.right + 2 || at.top < frame.top - 2 ||
          at.bottom > frame.bottom + 2) found.push(`${name}: "${text}" is cut off`);
      if (/NaN|undefined|Infinity/.test(text)) found.push(`${name}: it says "${text}"`);
    }
    for (let one = 0; one < boxes.length; one++) for (let two = one + 1; two < boxes.length; two++) {
      const a = boxes[one].at, b = boxes[two].at;
      const wide = Math.min(a.right, b.right) - Math.max(a.left, b.left);
      const high = Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top);
      if (wide > 2 && high > 3) found.push(`${name}: "${boxes[one].text}" lies on "${boxes[two].text}"`);
    }
  }
  return found;
}
"""


def main() -> int:
    """Return 1 where a page is refused."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("pages", nargs="+", type=Path, help="HTML files")
    parser.add_argument("--shots", type=Path, help="folder for pictures of all that was opened")
    parser.add_argument("--chromium", default="/usr/bin/chromium", help="the browser's program")
    given = parser.parse_args()
    faults = 0
    for page, how, found in opened(given.pages, given.chromium, given.shots):
        faults += len(found)
        for fault in found:
            print(f"{page} ({how}): {fault}")
    print(f"{len(given.pages)} pages opened, {faults} faults", file=sys.stderr)
    return 1 if faults else 0


def opened(pages: list[Path], chromium: str, shots: Path | None) -> Iterator[tuple[Path, str, list[str]]]:
    """Yield each page as it was opened, and what is wrong with it there."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        for page in pages:
            for scheme in SCHEMES:
                for width in WIDTHS_PX:
                    yield (
                        page,
                        f"{width} px, {scheme}",
                        _looked_at(browser, page, width, scheme, "screen", shots),
                    )
            yield page, "print", _looked_at(browser, page, WIDTHS_PX[1], "light", "print", shots)
        browser.close()


def _barriers(tab: Any) -> list[str]:
    """Return the rules of accessibility that a page breaks, each with where it does first."""
    from axe_playwright_python.sync_playwright import Axe

    broken = Axe().run(tab).response["violations"]
    return [
        f"{each['id']}: {each['help']} ({len(each['nodes'])} times, as {each['nodes'][0]['html'][:120]})"
        for each in broken
    ]


def _looked_at(
    browser: Any, page: Path, width: int, scheme: str, media: str, shots: Path | None
) -> list[str]:
    from playwright.sync_api import TimeoutError

    context = browser.new_context(viewport={"width": width, "height": HEIGHT_PX}, color_scheme=scheme)
    tab = context.new_page()
    said: list[str] = []
    tab.on("console", lambda message: said.append(f"the console says: {message.text}"))
    tab.on("pageerror", lambda error: said.append(f"its script fails: {error}"))

    def refuse(route: Any) -> None:
        said.append(f"it asks for {route.request.url}")
        route.abort()

    context.route("http**", refuse)
    tab.emulate_media(media=media)
    tab.goto(page.resolve().as_uri())
    with suppress(TimeoutError):  # A chart that is not drawn by then is found below.
        tab.wait_for_function(DRAWN, timeout=60_000)
    tab.wait_for_timeout(200)
    found = [*said, *tab.evaluate(MEASURE)]
    if media == "screen" and width == WIDTHS_PX[0]:
        found += _barriers(tab)
    if shots is not None:
        shots.mkdir(parents=True, exist_ok=True)
        name = f"{page.parent.name}-{width}-{scheme}-{media}.png"
        tab.screenshot(path=shots / name, full_page=True)
    context.close()
    return found


if __name__ == "__main__":
    sys.exit(main())
