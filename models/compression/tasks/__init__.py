"""A task's teacher, and cross-distillation: the student learns in its teacher's shoes."""
