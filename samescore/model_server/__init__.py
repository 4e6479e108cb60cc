"""`samescore model-server`: puts the embedded model server together and runs it."""
