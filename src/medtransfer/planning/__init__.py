"""What studies cost before they run: runs, hours of a processor, disk."""
