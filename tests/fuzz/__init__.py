"""Hostile bytes: everything that reads what others wrote, given what nobody would write.

`targets` says what is read and what must hold then. CI tries them with hypothesis, for seconds, and with all of
`corpus`: bytes that found something once. `python -m tests.fuzz --minutes 10` goes on for longer, guided by coverage
where atheris is installed (`pip install atheris`).
"""
