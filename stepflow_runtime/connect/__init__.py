"""Component servers and peers: how they are reached, kept alive, asked, and heard.

Reading order: `plugin` (what a plugin is) → `router` (the `ComponentCaller` that the engine sees) → `pool` and `server`
(slots, queues, requests and answers) → `supervisor`, `stdio`, `tcp`, `listener` (how connections come to be) →
`mock`, `builtins` (plugins without a process). Below lie `ports`, `model` and `protocol`; the engine, the store and the
services are not known here.
"""
