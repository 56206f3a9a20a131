"""Results as lists of checks that passed or did not: what JUnit, SARIF and GitHub have in common."""
