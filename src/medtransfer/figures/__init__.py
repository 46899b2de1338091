"""Figures: one module a family, from tidy tables to axes."""
