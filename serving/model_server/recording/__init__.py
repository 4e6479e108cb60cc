"""Records calls: upstream's PredictionLog files, and our request log."""
