"""Trained models: ``model``, its ``target`` (units of the predicted numbers), ``ranges`` of its inputs, and its file."""
