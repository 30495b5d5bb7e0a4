"""What the two sides of a connection share: the contract, and how it is spoken. A tour, in reading order:

1. `methods`: the catalogue. Who answers what, with which params and result. Start here.
2. `types`: the shapes on the wire. `errors`: what can go wrong, as codes and as exceptions.
3. `messages`: one line of JSON ⇄ one envelope. `framing`: bytes → lines.
4. `lifecycle`: states and events as tables, and `advance`, which reads them.
5. `batch`, `peer`: one end of a connection without the connection. Bytes in, events out; calls in, bytes out.
6. `dispatch`: requests to handlers, by the catalogue. `openrpc`: the catalogue as a document.
7. `streams`: pipes, sockets and memory with one face. `handling`: the other side's requests while they are worked on.
8. `sender`: what is queued, onto a stream. `link`: all of that, alive under trio.

1 to 5 and `openrpc` are pure: no trio, no I/O, no clock. The runtime and the SDK meet in this package and nowhere else.
"""
