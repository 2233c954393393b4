import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lookalike.utils.tables import csv_writer, marked, unmarked


@pytest.mark.parametrize("cell", ["=HYPERLINK(1)", "+1+1", "-1.jpg", "@SUM(A1)", "\tx", "\rx", "'=1"])
def test_what_a_spreadsheet_would_run_begins_with_an_apostrophe(cell: str) -> None:
    assert marked(cell) == f"'{cell}"


def test_numbers_and_other_text_stay() -> None:
    out = io.StringIO()
    csv_writer(out).writerow([-1, "-0.0188", "+1e-7", "-inf", None, "a=b", "'tis", "=1"])
    assert out.getvalue() == "-1,-0.0188,+1e-7,-inf,,a=b,'tis,'=1\n"


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_a_cell_is_read_back_as_it_was(cell: str) -> None:
    assert unmarked(str(marked(cell))) == cell
    out = io.StringIO()
    csv_writer(out).writerow([cell, "end"])
    assert unmarked(next(csv.reader(io.StringIO(out.getvalue(), newline="")))[0]) == cell
