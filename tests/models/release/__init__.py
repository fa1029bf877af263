"""Making, signing, opening and shrinking releases."""
