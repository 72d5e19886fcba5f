"""Tests of the Python client, against a server of our own on loopback."""
