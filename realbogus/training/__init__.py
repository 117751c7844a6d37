"""From labelled alerts to a model that carries its evidence.

`labelled` makes `examples` of packets, `splits` keeps apart what must be, `fit` and `evaluate` do what they say, and
`card` tells people. Nothing here is needed to serve a model; only here (and in `forest`) does scikit-learn have a say.
"""
