"""Other people's text stays text; charts carry words."""

import math
import xml.etree.ElementTree as ET

from gtn_jax.analysis.charts import line_chart
from gtn_jax.analysis.html import element, image, page, table

EVIL = '<script>alert("1")</script> & \x00\ud800 é'


def test_text_is_escaped_wherever_it_goes():
    written = page(EVIL, element("p", None, EVIL, element("br"), EVIL), table([EVIL], [[EVIL]]))
    assert "<script" not in written and "\x00" not in written and "\ud800" not in written
    assert written.count("&lt;script&gt;") == 5
    assert written.encode()
    assert ' alt="<i onload=&quot;x&quot;&gt;"' in page("", image(b"x", "png", '<i onload="x">'))
    assert "é" in written


def test_children_keep_their_order():
    node = element("p", None, "a", "b", element("b", None, "c"), "d", None, "e")
    assert ET.tostring(node, encoding="unicode") == "<p>ab<b>c</b>de</p>"


def test_page_asks_for_nothing():
    written = page("title", image(b"\xff", "jpeg", "a dot"))
    assert "default-src 'none'" in written
    assert 'src="data:image/jpeg;base64,/w=="' in written and 'alt="a dot"' in written
    assert "http://" not in written and "https://" not in written
    assert written.startswith("<!DOCTYPE html>")


def test_chart_by_hand():
    figure = line_chart("loss", {"train": [(0, 2.0), (1, math.nan), (2, 1.0)], "none": []})
    assert figure is not None
    (line,) = figure.iter("polyline")
    # From the top of the left axis to the bottom of the right edge.
    assert line.get("points") == "64.0,12.0 352.0,190.0"
    (svg,) = figure.iter("svg")
    assert svg.get("aria-label") == "loss: train ends at 1" and svg.get("role") == "img"
    assert [text.text for text in figure.iter("text")][:3] == ["1", "1.5", "2"]


def test_chart_of_nothing_and_of_one_point():
    assert line_chart("loss", {"train": [(0, math.inf)]}) is None
    figure = line_chart("loss", {"train": [(1, 3.0)]})
    assert figure is not None and len(list(figure.iter("circle"))) == 1
