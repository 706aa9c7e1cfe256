"""The front door of punktfunk."""
