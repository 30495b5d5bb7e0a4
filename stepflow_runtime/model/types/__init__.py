"""Types of JSON values, as far as schemas tell them: what a flow's steps are given, and what they give.

`lattice` is what a type is, `reading` makes one of a JSON Schema and `writing` makes a schema of one, `fitting` tells
whether the values of one type are those of another, `following` goes along a path, `inference` finds the type of an
expression, and `flow_types` those of a whole flow. All is pure; who asks the components is above, in `services`.

Two things hold always, however little a schema tells: what is said to fit does, and what is said never to fit never
does, if components give and take what they declare.
"""
