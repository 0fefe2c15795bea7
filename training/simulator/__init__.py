"""A shop whose truth is known: its goods, its people, what they are shown and what they click."""
