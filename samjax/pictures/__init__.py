"""All drawing: one canvas, masks over photos, sheets of captioned cells, plots."""
