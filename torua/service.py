"""ASSEMBLES. The one place where the parts of a node are made and meet."""
