"""What the demo tells at its end: plots, a page, a table, a verdict."""
