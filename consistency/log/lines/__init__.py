"""What a line of the log says, and how it is written and read: exact, and cheap."""
