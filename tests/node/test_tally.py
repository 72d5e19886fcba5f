"""What a copy does, counted and averaged."""

import pytest

from torua.core.kv import Delete, Entry, Put
from torua.node.tally import FADES_S, Tally


def test_a_steady_rate_is_reached_and_fades_when_it_ends() -> None:
    """Two thirds of it after the time that averages take, nothing much after ten."""
    tally = Tally()
    for _ in range(int(FADES_S)):
        for _ in range(10):
            tally.saw(Entry(b"k", 1, 100))
        tally.wrote([Put(b"k", b"v" * 50), Delete(b"k")], 0.004)
        tally.fade(1.0)
    rates = tally.rates
    assert rates.reads == pytest.approx(10 * 0.632, rel=0.01)
    assert rates.writes == pytest.approx(2 * 0.632, rel=0.01)
    assert rates.bytes == pytest.approx(1050 * 0.632, rel=0.01)
    assert rates.latency_s == pytest.approx(0.004 * 0.632, rel=0.01)
    for _ in range(10):
        tally.fade(FADES_S)
    assert tally.rates.reads < 0.01
    assert tally.rates.latency_s == pytest.approx(rates.latency_s)


def test_a_burst_counts_little() -> None:
    """A hundred requests in one second are some ten a second after five."""
    tally = Tally()
    for _ in range(100):
        tally.saw(None)
        tally.took(0.001)
    tally.fade(5.0)
    assert tally.rates.reads == pytest.approx(20 * 0.1535, rel=0.01)
