"""The living parts of the graph: its workers, its queries, its writes."""
