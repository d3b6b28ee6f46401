"""What several tests need: batches, flattened events, reading events back."""
