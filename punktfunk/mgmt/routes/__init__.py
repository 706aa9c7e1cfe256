"""The operations, a file for each part of the host that they show or change."""
