"""The virtual world: device tiers, and users turned into device shards on disk."""
