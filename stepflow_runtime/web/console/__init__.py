"""The console: pages for people, written on the server, with a little JavaScript that keeps them current.

It asks the same methods as everybody (`gateway`). Everything that a run made or somebody named is data here: templates
escape it, and no page has a script or a style in its text (FAULTS 42).
"""
