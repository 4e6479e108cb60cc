"""`samescore drift`."""
