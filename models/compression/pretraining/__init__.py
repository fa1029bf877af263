"""General distillation, before any task is known: what there is to learn, and the descent."""
