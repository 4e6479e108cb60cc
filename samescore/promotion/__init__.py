"""Makes a float64 model from a float32 one, and proves it against the original."""
