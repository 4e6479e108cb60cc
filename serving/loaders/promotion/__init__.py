"""Makes float64 models of float32 ones; what cannot be done is refused by the op's name."""
