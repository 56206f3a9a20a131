"""Reports for machines: one document a run, described by the JSON Schemas in `report/schemas/`."""
