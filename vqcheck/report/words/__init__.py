"""What the reports for people say in the same words, whatever they look like."""
