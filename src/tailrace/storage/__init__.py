"""The SQL database, its migrations and the JSON documents in it; durable file writes; what disk errors mean."""
