"""Paired comparisons with intervals."""
