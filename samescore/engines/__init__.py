"""Who does work on a log, unit by unit: this process, several, or Spark; all with one result."""
