"""`python -m stepflow_runtime.app.cli` is `stepflow`."""

from stepflow_runtime.app.cli import main

main()
