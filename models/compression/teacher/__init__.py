"""What the student learns from: the teacher's files, the texts, and its answers to them on disk."""
