"""From stored predictions to metrics."""
