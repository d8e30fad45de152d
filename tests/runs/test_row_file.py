"""Files of rows: torn lines, and what is no row."""

import pytest

from gtn_jax.runs.row_file import append_row, read_rows


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


def test_missing_field_is_named_with_its_line(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text('{"a": 1, "b": null}\n{"a": 2}\n')
    assert len(read_rows(path, ("a",))) == 2
    with pytest.raises(ValueError, match="rows.jsonl, line 2: no 'b'; mend or remove it"):
        read_rows(path, ("a", "b"))
