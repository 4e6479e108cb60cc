"""`samescore replay`."""
