"""Tests for `torua.core.allocation`."""
