"""The SQL database and the JSON documents in it; durable files; objects of a store and their cache; faults in words."""
