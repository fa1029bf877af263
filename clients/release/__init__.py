"""Releases on the phone: what is refused, two slots, one pointer, and the way back."""
