"""What a run does next: `run_state` decides, purely; `executor` carries it out, with a store and servers.

It knows those two only as `ports`. Above it are the services; below it the model.
"""
