"""Another game's look: its capture read, its shapes fitted, the shipped weights adapted to it and measured."""
