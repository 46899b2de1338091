"""What networks have learnt: similarity, distance, reuse and transferability of representations."""
