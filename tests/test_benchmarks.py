"""The plumbing of ``benchmarks/suite.py``, without any cluster."""

import json
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from types import ModuleType
from xml.etree import ElementTree

import pytest

ROOT = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture(autouse=True)
def path(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Make the scripts importable, and forget them afterwards."""
    before = set(sys.modules)
    monkeypatch.syspath_prepend(str(ROOT))
    yield
    for name in set(sys.modules) - before:
        if str(getattr(sys.modules[name], "__file__", "")).startswith(str(ROOT)):
            del sys.modules[name]


def script(name: str) -> ModuleType:
    """Import one of the scripts."""
    return import_module(name)


def test_a_section_takes_the_place_of_the_one_before(tmp_path: Path) -> None:
    """In the order of the parts; others stay as they are."""
    suite, page = script("suite"), tmp_path / "benchmarks.md"
    titles = [title for title, _ in suite.PARTS.values()]
    suite.write(page, titles[1], f"## {titles[1]}\n\nold\n")
    suite.write(page, titles[0], f"## {titles[0]}\n\nfirst\n")
    suite.write(page, titles[1], f"## {titles[1]}\n\nnew\n")
    found = dict(suite.sections(page.read_text()))
    assert list(found) == titles[:2]
    assert "new" in found[titles[1]]
    assert "old" not in page.read_text()


def test_every_part_says_in_its_own_words_what_it_does() -> None:
    """And no two have the same title."""
    parts = script("suite").PARTS
    assert len({title for title, _ in parts.values()}) == len(parts)
    assert all(part.__doc__ for _, part in parts.values())


@pytest.mark.parametrize("logarithmic", [True, False])
def test_a_chart_holds_each_line_within_its_bounds(
    tmp_path: Path, logarithmic: bool
) -> None:
    """It is XML, and higher values stand higher."""
    chart, path = script("chart"), tmp_path / "charts" / "one.svg"
    axes = chart.Axes("a < b", "x", "y", logarithmic)
    lines = {"up": [(1, 0.5), (2, 50), (3, 700)], "flat": [(1, 3), (3, 3)]}
    chart.draw(path, axes, lines)
    drawn = ElementTree.parse(path).findall(".//{*}polyline")  # noqa: S314 - our own
    assert len(drawn) == 2
    places = [
        tuple(map(float, point.split(",")))
        for point in str(drawn[0].get("points")).split()
    ]
    assert [x for x, _ in places] == sorted(x for x, _ in places)
    assert [y for _, y in places] == sorted((y for _, y in places), reverse=True)
    for x, y in places:
        assert chart.LEFT <= x <= chart.WIDTH - chart.RIGHT
        assert chart.TOP - 1 <= y <= chart.HEIGHT - chart.BOTTOM


def test_etcd_is_asked_for_the_same_keys_and_values() -> None:
    """As its gateway has them: base64 in JSON."""
    etcd = script("etcd")
    head, _, body = etcd.etcd_pool("put")[3].wire.partition(b"\r\n\r\n")
    assert head.startswith(b"POST /v3/kv/put HTTP/1.1\r\n")
    asked = json.loads(body)
    assert asked["key"] == "YmVuY2gvMDAwMDAwMDM="
    assert len(asked["value"]) == 136
    assert json.loads(
        etcd.etcd_pool("get")[0].wire.partition(b"\r\n\r\n")[2]
    ).keys() == {"key"}


def test_wrk_is_told_to_send_the_bytes_that_our_generator_sends() -> None:
    """Each request is a string of Lua; quotes and line ends are escaped in it."""
    etcd = script("etcd")
    pool = etcd.etcd_pool("put")[:2]
    told = etcd.lua(("http://127.0.0.1:1", "http://127.0.0.1:2"), pool)
    assert '{"127.0.0.1", "1"}, {"127.0.0.1", "2"}' in told
    (first, _) = (line for line in told.splitlines() if line.startswith('"POST'))
    assert "HTTP/1.1\\013\\010Host" in first
    assert first.count('"') == 2


def test_the_rate_is_read_out_of_what_wrk_prints() -> None:
    """A run in which requests failed is none."""
    etcd = script("etcd")
    assert etcd.per_second("x\nRequests/sec:   2512.75\ny\n") == 2512.75
    with pytest.raises(AssertionError):
        etcd.per_second("Non-2xx or 3xx responses: 3\nRequests/sec:   2512.75\n")
