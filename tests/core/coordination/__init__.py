"""Tests of `torua.core.coordination`, laid out as the package."""
