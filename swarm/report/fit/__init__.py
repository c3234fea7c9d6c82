"""How well a profile fits what it was learned from."""
