"""From manifests and image files to the pixel store and its splits."""
