"""The graph, against one engine that holds everything: the same answers, or an error.

``python -m tests.graph --statements N --seed S`` plays generated statements for longer
than the ordinary tests do.
"""
