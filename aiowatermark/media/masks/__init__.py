"""Masks: black and white, boxes, and the kinds of mask that providers take."""
