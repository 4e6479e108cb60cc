"""The acts of the demo, from training to the alarm."""
