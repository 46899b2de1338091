"""Networks and the ways they start."""
