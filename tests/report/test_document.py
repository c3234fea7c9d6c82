"""Pages: what a user wrote is shown as text, whatever it looks like."""

from swarm.report.document import Markup, section, table

LABEL = "<script>alert(1)</script>"


def test_what_looks_like_markup_is_text() -> None:
    made = section(LABEL, table((LABEL,), [(LABEL, Markup("<b>ours</b>"))]), LABEL)
    assert "<script" not in made
    assert made.count("&lt;script&gt;") == 4
    assert "<b>ours</b>" in made
