"""The services that `benchmarks.serve` sets beside ours. They run in an environment of their own and import nothing of
the project: what they need to know of the bundle stands as JSON in the variable PEER_SPEC.
"""
