"""What an operator lets a model file bring along, and how files are looked through first."""
