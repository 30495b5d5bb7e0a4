"""A durable runtime for component servers.

Reading order: `ports` says what the engine needs of the world; `engine/run_state.py` is what a run does, as a pure
state machine; `app/runtime.py` puts the parts together. Layers, top to bottom: `app`, `services`, then `engine`,
`store` and `connect` side by side, then `ports`, then `model`.
"""

__version__ = "0.1.0"
