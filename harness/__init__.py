"""The measurement harness."""
