"""The program around the runtime: configuration, composition, logs, command line.

`runtime` is the only place that knows every layer and puts them together; `config` is what it is told, `cli` what
people type. Nothing below imports this package.
"""
