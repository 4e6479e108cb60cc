"""What was found, told to people and to CI: values, causes, commands."""
