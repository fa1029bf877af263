"""Floor 1: pure functions of tensors and tables (compression, recommender, metrics, bundle)."""
