"""What a team asks for: reads `samescore.toml` or a `conftest.py`, and the records it names."""
