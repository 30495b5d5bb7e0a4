"""What keeps the runtime fast: a guard that runs with every other test. How fast it is, `make bench` says."""
