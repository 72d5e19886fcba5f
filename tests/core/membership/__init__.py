"""Tests for `torua.core.membership`."""
