"""The one door between cloud and phone: the messages and their codec."""
