"""What both ends of a secure sum share: ring, rounding, noise, keys, shares, and the messages."""
