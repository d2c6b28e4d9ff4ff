"""Glue between SlowFast and `actionrec`: the configuration, the two bases, and the run itself."""
