"""The runtime over HTTP: for browsers, for what cannot hold a connection open, and for what watches it.

Whoever comes in over HTTP is a client like any other: what is asked here is asked of the same methods, through a link
within the process (`gateway`), so that what may be seen and changed is decided in one place. Above: `app`. Below:
`connect` and `protocol`; it knows neither the engine nor the store.
"""
