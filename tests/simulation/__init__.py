"""The whole system in one loop, with simulated time, network, disk and processes; a seed decides everything.

What runs are the real classes, from the composition root down to the peers: only what lies behind their ports is
simulated. `world` joins the parts, `workload` is what is asked of them, `chaos` what happens to them, and
`tests.invariants` what must hold. `python -m tests.simulation --seed N` replays one seed.
"""
