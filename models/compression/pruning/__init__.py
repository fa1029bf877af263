"""Hard token pruning: which of the teacher's words are kept, and rivals at equal bytes."""
