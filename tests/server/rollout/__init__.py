"""Rolling out: who, when, what is read, what is decided."""
