"""The SQL database and the documents in it; files that survive a power cut; what failures of disks mean."""
