"""The report of a run: `page.build`, `tables.write_tables`, `manifest.manifest`."""
