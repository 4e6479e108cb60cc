"""The scheduled drift job: reads a log, judges its windows, shows them."""
