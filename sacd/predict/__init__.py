"""Staging of a night from its video alone: the shipped model, its outputs, its export to ONNX."""
