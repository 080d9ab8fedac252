"""One module a command: `register(subparsers)` adds its parser and sets `run`, which takes the parsed
arguments and returns the exit status. Torch and the models are imported inside `run`, so that `--help` is
instant.
"""
