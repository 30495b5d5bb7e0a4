"""What the methods of the protocol do, each in terms of engine, store and connections. `app` puts them together."""
