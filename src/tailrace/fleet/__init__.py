"""Several servers as one: nodes that find each other in the database, leases with fences, who owns which datasets.

Who decides what is stored is a table's log, by conditional put; a lease only says who should write.
"""
