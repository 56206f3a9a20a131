"""Results to text, JSON and further formats. Knows result types only."""
