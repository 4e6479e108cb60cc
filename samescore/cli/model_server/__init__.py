"""`samescore model-server`."""
