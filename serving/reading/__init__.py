"""From a query to counts: which rows it takes, how they are asked for, how they are merged. It knows neither Flask
nor Cassandra.
"""
