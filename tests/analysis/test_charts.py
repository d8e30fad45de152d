"""Charts: where their marks are, by hand, and files that are SVG by themselves."""

import xml.etree.ElementTree as ET

import pytest

from gtn_jax.analysis.charts import dot_chart, standalone

NAME = "{http://www.w3.org/2000/svg}"


def test_dots_and_means_by_hand():
    chart = dot_chart("test accuracy %", {"gtn": [90.0, 100.0], "aux": [95.0]})
    assert chart is not None
    # Names of three letters take 16 + 7 x 3 = 37 of 360; 90 is at 45, 100 at 45 + 360 - 37 - 24.
    dots = [(float(dot.get("cx", "")), float(dot.get("cy", ""))) for dot in chart.iter("circle")]
    assert dots == [(45.0, 26.0), (344.0, 26.0), (194.5, 54.0)]
    bars = [float(line.get("x1", "")) for line in chart.iter("line")][1:]
    assert bars == [194.5, 194.5]
    words = chart.get("aria-label")
    assert words == "test accuracy %: gtn 95 on average; aux 95 on average"
    assert [text.text for text in chart.iter("text")] == [
        "90",
        "100",
        "test accuracy %",
        "gtn",
        "aux",
    ]


def test_one_value_and_none():
    chart = dot_chart("accuracy", {"one": [50.0], "none": []})
    assert chart is not None
    (dot,) = chart.iter("circle")
    assert float(dot.get("cx", "")) == pytest.approx(45 + 299 / 2)
    assert dot_chart("accuracy", {"none": []}) is None


def test_file_stands_alone():
    chart = dot_chart("<b>", {"a & b": [1.0, 2.0]})
    assert chart is not None
    root = ET.fromstring(standalone(chart))
    assert root.tag == NAME + "svg" and root.get("width") == "720"
    assert len(list(root.iter(NAME + "circle"))) == 2
    assert "a & b" in [text.text for text in root.iter(NAME + "text")]
