"""Rolling a release out: who gets it when, what is read from it, what is decided, and the log."""
