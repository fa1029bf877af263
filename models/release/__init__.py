"""Releases: a signed manifest, the files that it names, and the way from one to the next."""
