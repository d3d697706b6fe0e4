"""Photographs and drawings: ``ink`` finds what is drawn, ``prepare`` makes inputs of it."""
