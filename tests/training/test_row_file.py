"""Files of rows: torn lines, and what is no row."""

import pytest

from gtn_jax.training.row_file import append_row, read_rows


def test_rows_survive_a_torn_line(tmp_path):
    path = tmp_path / "results.jsonl"
    assert read_rows(path) == []
    path.write_text('{"seed": 0}\n{"se')
    assert read_rows(path) == [{"seed": 0}]
    append_row(path, {"seed": 1})
    assert path.read_text() == '{"seed": 0}\n{"seed": 1}\n'
    path.write_text("{\n")
    with pytest.raises(ValueError, match="results.jsonl, line 1: not JSON"):
        read_rows(path)
