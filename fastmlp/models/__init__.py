"""Trained models: ``model``, its ``target`` (units of predicted numbers), ``ranges`` of its inputs, and its file."""
