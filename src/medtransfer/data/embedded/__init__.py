"""Data sets drawn from a seed: one formula-driven source and two phantoms. None is clinical."""
