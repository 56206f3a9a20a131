"""Results to documents, one file a command: the only home of people's words. Knows result types only."""
