"""Everything that is drawn: one canvas, masks over photos, sheets of captioned cells, plots."""
