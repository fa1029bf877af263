"""A party of a secure sum: what it hides, and what it refuses to give away."""
