"""The text symbols of the miniature tree."""

symbols = [f"s{number}" for number in range(40)]
