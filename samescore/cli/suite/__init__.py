"""`samescore suite`."""
