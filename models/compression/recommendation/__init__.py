"""Cross-distillation where the teacher's head is a trained recommender."""
