"""The cloud's end of a secure sum: it routes and adds up, and learns nothing but the sum."""
