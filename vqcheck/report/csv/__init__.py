"""Reports for spreadsheets and plots: one table a run."""
