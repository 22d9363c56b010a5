import pytest
from hypothesis import given
from hypothesis import strategies as st

from k3net.cli.table import Column, Table, fitted

COLUMNS = (Column("NAME"), Column("A"), Column("REASON"))


def test_columns_are_aligned_as_kubectl_aligns_them(capsys: pytest.CaptureFixture[str]) -> None:
    Table(COLUMNS).write([("n1", "x", "because"), ("a-longer-name", "yyyy", "")])
    assert capsys.readouterr().out == (
        "NAME            A      REASON\n"
        "n1              x      because\n"
        "a-longer-name   yyyy   \n"
    )  # fmt: skip


def test_a_column_is_at_least_six_wide(capsys: pytest.CaptureFixture[str]) -> None:
    Table(COLUMNS, headers=False).write([("a", "b", "c")])
    assert capsys.readouterr().out == "a     b     c\n"


def test_later_rows_keep_the_widths_of_the_earlier_ones_and_have_no_heading(capsys: pytest.CaptureFixture[str]) -> None:
    table = Table(COLUMNS)
    table.write([("a-longer-name", "x", "r")])
    capsys.readouterr()
    table.write([("n1", "x", "r")])
    assert capsys.readouterr().out == "n1              x     r\n"


def test_the_heading_waits_for_the_first_row(capsys: pytest.CaptureFixture[str]) -> None:
    table = Table(COLUMNS)
    table.write([])
    assert capsys.readouterr().out == ""
    table.write([("n1", "x", "r")])
    assert capsys.readouterr().out.startswith("NAME")


@given(st.lists(st.tuples(st.integers(6, 80), st.booleans()), min_size=1, max_size=8), st.integers(1, 200))
def test_only_elastic_columns_give_way_and_no_more_than_needed(columns: list[tuple[int, bool]], room: int) -> None:
    widths, elastic = [width for width, _ in columns], [gives for _, gives in columns]
    fit = fitted(widths, elastic, room)
    for width, gives, now in zip(widths, elastic, fit, strict=True):
        assert now == width if not gives else min(width, 15) <= now <= width
    line = sum(fit) - 3
    if fit != widths:
        assert line >= room
    if line > room:
        assert all(now <= 15 for now, gives in zip(fit, elastic, strict=True) if gives)
