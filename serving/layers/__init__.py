"""The two layers that counts are read from: what is asked of them, Cassandra, and the caches and the circuit
before it.
"""
