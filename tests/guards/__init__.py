"""Every guard against a fault is removed in turn, and a test must notice.

`table` says which guards there are, `trial` removes one in a copy of the project; `python -m tests.guards` tries all.
"""
