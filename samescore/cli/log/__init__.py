"""`samescore log`."""
