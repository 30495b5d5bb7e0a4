"""What runs make beside their results: streams, checkpoints and artifacts (PROTOCOL §4)."""
