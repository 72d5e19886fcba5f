"""Torua: a sharded key-value and graph store that keeps itself together by gossip."""

__version__ = "0.1.0"
