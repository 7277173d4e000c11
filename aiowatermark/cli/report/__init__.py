"""HTML report of a batch: one self-contained page with the images before and after."""
