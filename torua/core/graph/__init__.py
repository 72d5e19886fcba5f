"""Graphs: types, schemas, rows and keys, as values.  The engine is elsewhere."""
