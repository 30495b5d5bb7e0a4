"""What is true of flows, runs and their events, as data and pure functions. It knows no clock, no store, no network.

Everything else in the runtime stands on it; it stands on `protocol` alone.
"""
