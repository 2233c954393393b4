"""A collection seen as a whole: duplicates, labels, a map, and why two images look alike."""
