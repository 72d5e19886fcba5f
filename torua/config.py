"""Everything a node was told, from options, environment and file, checked once."""
