"""Few bits: how weights become small integers, which bear it, and training under the rounding."""
