"""What every part of Fedward speaks: specs, arrays, partitions, updates, aggregators, filters, cards and errors.

Nothing here knows torch, Flower, a web framework or a database.
"""

__version__ = "0.1.0"
