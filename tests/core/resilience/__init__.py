"""Tests for `torua.core.resilience`."""
