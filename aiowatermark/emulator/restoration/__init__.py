"""Image restoration: detection of a mark, unblending, inpainting."""
