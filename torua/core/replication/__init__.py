"""How a shard's writes are ordered and acknowledged, as pure machines."""
