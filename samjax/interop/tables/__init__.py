"""What samjax knows of each family of models: its keys elsewhere, its paths here, its sizes."""
