"""The cloud's end of a secure sum: it routes, adds up and unmasks, and knows nothing but the sum."""
