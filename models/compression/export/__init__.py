"""The student as one ONNX graph, and back from a bundle to torch."""
