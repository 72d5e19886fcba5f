"""Data that ships with the package, and schemas of data sets that are often loaded."""

from importlib.resources import files
from pathlib import Path

HERE = Path(str(files(__package__)))
"""Where they lie; the package is always installed as files."""

SOCIAL = HERE / "social"
"""A small part of a social network; its ``README.md`` names the source."""

SCHEMAS = {"social network (LDBC SNB)": SOCIAL / "schema.cypher"}
"""Schemas by the names of the data sets that they are of."""
