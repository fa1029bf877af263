"""Public data sets and a user's own files, checked and split."""
