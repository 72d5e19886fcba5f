"""Tests of `torua.core.splitting`."""
