"""Notes of many points, told once for each kind."""

from swarm.report.notes import kinds, listed


def test_notes_that_differ_in_numbers_alone_are_one_kind() -> None:
    summaries = [
        {"notes": ["extrapolated: up to 32000 tokens, measured 15000"]},
        {"notes": ["extrapolated: up to 128000 tokens, measured 15000", "refused 1,234: too long"]},
        {"notes": []},
        None,
    ]
    assert kinds(summaries) == [
        "2 of 4 points: extrapolated: up to 32000…128000 tokens, measured 15000",
        "1 of 4 points: refused 1,234: too long",
    ]


def test_numbers_within_names_are_the_names() -> None:
    said = kinds([{"notes": [f"no measurement of {name}"]} for name in ("Llama-3.3-70B", "Llama-3.1-8B")])
    assert said == [
        "1 of 2 points: no measurement of Llama-3.3-70B",
        "1 of 2 points: no measurement of Llama-3.1-8B",
    ]


def test_shares_have_ranges_too() -> None:
    dropped = [{"notes": [f"dram dropped {share}% of the blocks"]} for share in ("10.5", "2.0")]
    assert kinds(dropped) == ["2 of 2 points: dram dropped 2.0%…10.5% of the blocks"]


def test_a_page_without_notes_has_no_part_for_them() -> None:
    assert listed(()) == ""
    assert "<li>a &lt; b</li>" in listed(["a < b"])
