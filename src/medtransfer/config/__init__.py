"""Settings as typed models: what a study runs, on which data, networks, sources and recipes."""
