"""Training one run: recipe, augmentation, loop, devices."""
