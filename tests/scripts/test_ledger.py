"""What the ledger does not make anew stays on its page."""

import sys
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).parents[2] / "scripts"


def test_a_page_is_written_again_as_it_was_but_for_what_is_new(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [str(SCRIPTS), *sys.path])
    from ledger import CASES, PAGE, ROWS, rewritten

    page = PAGE.read_text()
    names = [line[4:] for line in page.splitlines() if line.startswith("### ")]
    kept = dict.fromkeys(names)
    assert rewritten(page, None, kept) == page
    changed = rewritten(page, None, kept | {names[1]: f"### {names[1]}\n\nAnew.\n\n"})
    assert "\n\nAnew.\n\n" in changed and changed.count("### ") == page.count("### ")
    assert changed.partition(CASES)[0] == page.partition(CASES)[0]
    anew = rewritten(page, f"{ROWS}Rows.\n", kept)
    assert anew.partition(CASES)[2] == page.partition(CASES)[2]
    assert anew.partition(CASES)[0].endswith(f"{ROWS}Rows.\n\n")
